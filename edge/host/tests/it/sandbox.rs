//! The sandbox: what is inside, what is kept out, what is left afterwards.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use selvage_host::probe::{self, Feature};
use selvage_host::sandbox::{
    Bind, IdRange, IoLimits, Limits, Sandbox, SandboxError, Spec, Streams,
};
use selvage_host::{NetNs, Netlink};

const MONITOR: &str = env!("CARGO_BIN_EXE_selvage-sandbox");

fn spec(name: &str, script: &str) -> Spec {
    probe::require(Feature::SANDBOX).expect("these tests need root and user namespaces");
    let name = format!("svt-{name}-{}", std::process::id());
    Spec {
        ids: IdRange::for_name(&name),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: BTreeMap::from([("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned())]),
        folder: PathBuf::from("/"),
        hostname: "inside".to_owned(),
        rootfs: None,
        binds: Vec::new(),
        limits: Limits::default(),
        note: String::new(),
        name,
    }
}

fn streams(output: impl Into<Stdio>) -> Streams {
    Streams { input: Stdio::null(), output: output.into(), error: Stdio::inherit() }
}

fn create(spec: &Spec, streams: Streams) -> Result<Sandbox, SandboxError> {
    Sandbox::create(Path::new(MONITOR), spec, streams, None)
}

/// Runs the command to its end, and gives what it wrote and its status.
fn run(spec: &Spec) -> Result<(String, i32), SandboxError> {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut sandbox = create(spec, streams(OwnedFd::from(writer)))?;
    let cgroups = sandbox.cgroups().to_vec();
    assert!(!cgroups.is_empty(), "no control groups");
    sandbox.release()?;
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let status = sandbox.wait()?;
    for folder in cgroups {
        assert!(!folder.exists(), "{} is left", folder.display());
    }
    Ok((text, status))
}

fn eventually(what: &str, mut f: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !f() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn the_command_is_alone_and_without_the_hosts_rights() {
    let script = "
        id -u; id -g; hostname; echo $$; ls /proc | grep -c '^[0-9]'; ls /sys/class/net
        grep -E 'CapEff|NoNewPrivs|CapBnd' /proc/self/status | tr -d '\\t' | tr '\\n' ' '; echo
        readlink /proc/self/ns/*; cat /proc/self/uid_map";
    let (text, status) = run(&spec("alone", script)).unwrap();
    assert_eq!(status, 0);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..4], ["0", "0", "inside", "2"], "{text}");
    assert!(lines[4].parse::<u32>().unwrap() <= 5, "sees others' processes: {text}");
    assert_eq!(lines[5], "lo");
    assert!(lines[6].contains("CapEff:00000000800425fb") && lines[6].contains("NoNewPrivs:1"));
    for kind in ["user", "pid", "net", "ipc", "mnt", "uts", "cgroup"] {
        let here = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        let here = here.to_str().unwrap();
        assert!(!text.contains(here), "shares {here} with the host");
        assert!(text.contains(&format!("{kind}:[")));
    }
    let root = IdRange::for_name(&spec("alone", "").name).root().to_string();
    assert!(lines.last().unwrap().split_whitespace().eq(["0", &root, "65536"]), "{text}");
}

#[test]
fn only_the_sandboxs_own_folders_can_be_written() {
    let script = "
        for path in /x /etc/x /usr/x /proc/sys/net/ipv4/ip_forward /sys/class/net/lo/mtu /dev/x; do
            (echo 1 > $path) 2>/dev/null && echo wrote $path
        done
        for path in /tmp/x /run/x /var/tmp/x /root/x /dev/shm/x /dev/null /dev/full; do
            (: > $path) 2>/dev/null || echo cannot write $path
        done
        (echo 1 > /dev/full) 2>/dev/null && echo full is not full
        head -c 4 /dev/urandom | wc -c
        head -c 3 /dev/zero | od -An -tx1
        mount -t tmpfs x /tmp 2>/dev/null && echo mounted
        unshare -m true 2>/dev/null && echo unshared mounts
        mknod /tmp/sda b 8 0 2>/dev/null && echo made a device
        cat /etc/shadow 2>/dev/null && echo read shadow
        ls /sys/fs/bpf /sys/fs/cgroup /root | grep -v :";
    let (text, _) = run(&spec("files", script)).unwrap();
    let lines: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(lines, ["4", "00", "00", "00", "x"], "{text}");
}

#[test]
fn its_network_is_its_own_and_root_inside_may_use_it() {
    let script = "ping -c 1 -W 1 127.0.0.1 >/dev/null && echo ping; \
        ping -6 -c 1 -W 1 ::1 >/dev/null && echo ping6; \
        ip link set lo down 2>/dev/null && echo changed lo; \
        ip link add v type veth 2>/dev/null && echo made a link; ip -o link | wc -l";
    let (text, _) = run(&spec("net", script)).unwrap();
    let mut lines = text.lines();
    if Path::new("/usr/bin/ping").exists() || Path::new("/bin/ping").exists() {
        assert_eq!(lines.next(), Some("ping"), "{text}");
        assert_eq!(lines.next(), Some("ping6"), "{text}");
    } else {
        eprintln!("NOT TESTED: ping from inside, this machine has no ping");
    }
    assert_eq!(lines.next(), Some("1"), "{text}");
}

#[test]
fn it_waits_until_it_is_released_and_its_network_can_be_attached_before() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let spec = spec("wait", "ls /sys/class/net | tr '\\n' ' '; ip -o -4 addr show eth0");
    let mut sandbox = create(&spec, streams(OwnedFd::from(writer))).unwrap();
    let network = NetNs::open(sandbox.network()).unwrap();
    // The host's end in a namespace of this test, so that nothing shows on the machine.
    let host = format!("svhost-wait-{}", std::process::id());
    let host_ns = NetNs::create(&host).unwrap();
    let veth = selvage_host::Veth {
        name: "sv0000aaaa",
        mac: None,
        peer: "eth0",
        peer_mac: None,
        peer_namespace: Some(&network),
        mtu: 1450,
        group: 0,
    };
    Netlink::open_in(&host_ns).unwrap().create_veth(&veth).unwrap();
    let mut inside = Netlink::open_in(&network).unwrap();
    let index = inside.index_of("eth0").unwrap();
    inside.add_address(index, "192.0.2.7".parse().unwrap(), 24).unwrap();
    sandbox.release().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(sandbox.wait().unwrap(), 0);
    NetNs::delete(&host).unwrap();
    assert!(text.starts_with("eth0 lo") && text.contains("192.0.2.7/24"), "{text}");
}

#[test]
fn the_exit_status_is_the_commands() {
    assert_eq!(run(&spec("status", "exit 42")).unwrap().1, 42);
    assert_eq!(run(&spec("signal", "kill -TERM $$")).unwrap().1, 128 + 15);
}

#[test]
fn orphans_are_reaped_and_end_with_the_command() {
    let script = "(sleep 1000 & sleep 1000 &) ; (true &) ; sleep 0.05; \
        grep -h '^State' /proc/[0-9]*/status | grep -c Z";
    let started = Instant::now();
    let (text, _) = run(&spec("orphans", script)).unwrap();
    assert_eq!(text.trim(), "0", "zombies are left");
    assert!(started.elapsed() < Duration::from_secs(30), "waited for the orphans");
}

#[test]
fn signals_reach_the_command() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let script = "trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let mut sandbox = create(&spec("term", script), streams(OwnedFd::from(writer))).unwrap();
    sandbox.release().unwrap();
    let mut ready = [0; 6];
    reader.read_exact(&mut ready).unwrap();
    sandbox.signal(Signal::SIGTERM);
    assert_eq!(sandbox.wait().unwrap(), 3);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "told\n");
}

#[test]
fn a_program_that_is_missing_or_does_not_run_is_told_before_release() {
    let mut missing = spec("missing", "");
    missing.command = vec!["no-such-program".to_owned()];
    let error = create(&missing, streams(Stdio::null())).unwrap_err();
    assert_eq!(error, SandboxError::CommandNotFound { command: "no-such-program".to_owned() });
    missing.command = vec!["/etc/passwd".to_owned()];
    let error = create(&missing, streams(Stdio::null())).unwrap_err();
    assert!(matches!(error, SandboxError::CannotExecute { .. }), "{error}");
    let mut folder = spec("folder", "true");
    folder.folder = PathBuf::from("/no/such/folder");
    let error = create(&folder, streams(Stdio::null())).unwrap_err();
    assert!(error.to_string().contains("/no/such/folder"), "{error}");
    let mut rootfs = spec("rootfs", "true");
    rootfs.rootfs = Some(PathBuf::from("/etc"));
    let error = create(&rootfs, streams(Stdio::null())).unwrap_err();
    assert!(error.to_string().contains("`/etc`") && error.to_string().contains("/proc"), "{error}");
}

#[test]
fn memory_and_processes_are_limited() {
    let mut spec = spec("limits", "");
    spec.limits = Limits { millicpus: Some(500), memory: Some(32 << 20), pids: Some(8), io: None };
    spec.command[2] = "sh -c 'x=$(head -c 200M /dev/zero | tr \\\\0 a)'; echo $?; \
        i=0; while [ $i -lt 30 ]; do sleep 5 & i=$((i+1)); done; echo not limited"
        .to_owned();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut streams = streams(OwnedFd::from(writer));
    streams.error = Stdio::null();
    let mut sandbox = create(&spec, streams).unwrap();
    let read = |name: &str, file: &str| {
        let folder = sandbox.cgroups().iter().find(|f| f.join(file).exists());
        let folder = folder.unwrap_or_else(|| panic!("no {name} group"));
        fs::read_to_string(folder.join(file)).unwrap().trim().to_owned()
    };
    if Path::new("/sys/fs/cgroup/cpu/cpu.shares").exists() {
        assert_eq!(read("cpu", "cpu.cfs_quota_us"), "50000");
        assert_eq!(read("memory", "memory.limit_in_bytes"), (32 << 20).to_string());
    } else {
        assert_eq!(read("cpu", "cpu.max"), "50000 100000");
        assert_eq!(read("memory", "memory.max"), (32 << 20).to_string());
    }
    assert_eq!(read("pids", "pids.max"), "8");
    sandbox.release().unwrap();
    let status = sandbox.wait().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "137\n", "status {status}");
    assert_ne!(status, 0);
}

#[test]
fn io_limits_are_kept_or_refused_by_name() {
    let mut spec = spec("io", "true");
    let limits = IoLimits { read_bytes: Some(1 << 20), ..IoLimits::default() };
    spec.limits.io = Some(limits);
    let has_blkio = Path::new("/sys/fs/cgroup/blkio/cgroup.procs").exists()
        || fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
            .is_ok_and(|text| text.contains("io"));
    match create(&spec, streams(Stdio::null())) {
        Ok(sandbox) => {
            assert!(has_blkio);
            let texts: String = ["blkio.throttle.read_bps_device", "io.max"]
                .iter()
                .flat_map(|file| sandbox.cgroups().iter().map(move |f| f.join(file)))
                .filter_map(|path| fs::read_to_string(path).ok())
                .collect();
            assert!(texts.contains("1048576"), "{texts}");
        }
        Err(error) => {
            assert!(!has_blkio, "{error}");
            assert!(error.to_string().contains("io"), "{error}");
        }
    }
}

#[test]
fn another_root_and_binds_are_seen_inside() {
    let root = std::env::temp_dir().join(format!("svhost-root-{}", std::process::id()));
    for folder in ["proc", "dev", "sys", "run", "tmp", "usr", "mine"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for link in ["bin", "lib", "lib64", "sbin"] {
        std::os::unix::fs::symlink(format!("usr/{link}"), root.join(link)).unwrap();
    }
    let mut spec = spec("root", "ls / | tr '\\n' ' '; cat /run/a/file; echo x > /run/a/file");
    spec.rootfs = Some(root.clone());
    let file = root.join("mine/file");
    fs::write(&file, "bound\n").unwrap();
    spec.binds = vec![
        Bind { host: PathBuf::from("/usr"), inside: PathBuf::from("/usr") },
        Bind { host: file.clone(), inside: PathBuf::from("/run/a/file") },
    ];
    let result = run(&spec);
    let left = fs::read_to_string(&file);
    fs::remove_dir_all(&root).unwrap();
    let (text, status) = result.unwrap();
    assert_eq!(text, "bin dev lib lib64 mine proc run sbin sys tmp usr bound\n");
    assert_ne!(status, 0, "wrote to a bound file");
    assert_eq!(left.unwrap(), "bound\n");
}

#[test]
fn a_dropped_sandbox_leaves_nothing() {
    let note = std::env::temp_dir().join(format!("svhost-note-{}", std::process::id()));
    let mut spec = spec("drop", "sleep 1000");
    spec.note = note.to_str().unwrap().to_owned();
    let mut sandbox = create(&spec, streams(Stdio::null())).unwrap();
    sandbox.release().unwrap();
    let (pid, cgroups) = (sandbox.pid(), sandbox.cgroups().to_vec());
    drop(sandbox);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(cgroups.iter().all(|folder| !folder.exists()));
    fs::remove_file(note).expect("nobody cleaned up");
}

#[test]
fn a_detached_sandbox_outlives_its_caller_and_cleans_up_after_itself() {
    let note = std::env::temp_dir().join(format!("svhost-detach-{}", std::process::id()));
    let mut spec = spec("detach", "read line");
    spec.note = note.to_str().unwrap().to_owned();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut input = streams(Stdio::null());
    input.input = OwnedFd::from(reader).into();
    let mut sandbox = create(&spec, input).unwrap();
    sandbox.release().unwrap();
    let (pid, cgroups) = (sandbox.pid(), sandbox.cgroups().to_vec());
    sandbox.detach().unwrap();
    let process = format!("/proc/{pid}");
    assert!(Path::new(&process).exists(), "it ended with its caller");
    drop(writer);
    eventually("the sandbox is gone", || note.exists());
    assert!(!Path::new(&process).exists());
    assert!(cgroups.iter().all(|folder| !folder.exists()));
    fs::remove_file(note).unwrap();
}

#[test]
fn a_killed_monitor_takes_its_sandbox_along_and_the_name_is_free_again() {
    let spec = spec("killed", "sleep 1000");
    let mut sandbox = create(&spec, streams(Stdio::null())).unwrap();
    sandbox.release().unwrap();
    let process = format!("/proc/{}", sandbox.pid());
    kill(Pid::from_raw(sandbox.monitor() as i32), Signal::SIGKILL).unwrap();
    assert_eq!(sandbox.wait().unwrap_err(), SandboxError::Lost);
    eventually("the first process is gone", || {
        // Reparented, it may stay a zombie until the machine's process 1 gets to it.
        fs::read_to_string(format!("{process}/stat")).map_or(true, |text| text.contains(") Z "))
    });
    let mut again = spec.clone();
    again.command[2] = "true".to_owned();
    eventually("the name is free", || run(&again).is_ok());
}

#[test]
fn another_command_joins_a_running_sandbox() {
    let spec = spec("join", "read line");
    let (reader, writer) = std::io::pipe().unwrap();
    let mut input = streams(Stdio::null());
    input.input = OwnedFd::from(reader).into();
    let mut sandbox = create(&spec, input).unwrap();
    sandbox.release().unwrap();
    // Joining spends a process of one thread, so a fresh one does it.
    let mut joiner = Command::new(MONITOR);
    joiner.args(["__join", &sandbox.pid().to_string()]);
    joiner.args(sandbox.cgroups());
    joiner.args(["--", "sh", "-c"]);
    joiner.arg("id -u; hostname; ls /proc/$$/fd | wc -w; grep CapEff /proc/self/status; exit 5");
    // A descriptor that whoever starts it forgot to keep to itself.
    let (leak, _other) = std::io::pipe().unwrap();
    nix::fcntl::fcntl(&leak, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let output = joiner.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{text}{errors}");
    let lines: Vec<&str> = text.lines().collect();
    // dash keeps one descriptor beside the standard streams for what it reads.
    assert_eq!(lines[..2], ["0", "inside"], "{text}");
    assert!(lines[2].parse::<u32>().unwrap() <= 4, "{text}");
    assert!(lines[3].ends_with("00000000800425fb"), "{text}");
    drop(writer);
    sandbox.wait().unwrap();
}

#[test]
fn a_held_file_stays_open_in_the_monitor_and_not_inside() {
    let path = std::env::temp_dir().join(format!("svhost-held-{}", std::process::id()));
    let held = File::create(&path).unwrap();
    let spec = spec("held", "ls -l /proc/self/fd /proc/1/fd 2>/dev/null; read line");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let (input, keep) = std::io::pipe().unwrap();
    let mut streams = streams(OwnedFd::from(writer));
    streams.input = OwnedFd::from(input).into();
    let monitor = Path::new(MONITOR);
    let mut sandbox = Sandbox::create(monitor, &spec, streams, Some(held.into())).unwrap();
    sandbox.release().unwrap();
    let open_in_monitor = fs::read_dir(format!("/proc/{}/fd", sandbox.monitor()))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .any(|target| target == path);
    drop(keep);
    sandbox.wait().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(open_in_monitor);
    assert!(!text.contains(path.to_str().unwrap()), "{text}");
}
