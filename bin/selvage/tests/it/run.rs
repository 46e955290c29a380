//! `selvage run`, `ps`, `exec` and `stop` against an agent that only makes links.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use selvage_agent::local::{Attach, Code, Refusal, Request, Response};
use selvage_host::{Change, NetNs, Netlink, Veth};
use serde_json::{Value, json};

/// An agent without a policy: attaches every group but those it does not know.
struct Agent {
    folder: PathBuf,
    host: String,
    /// Every request so far, as the line that came.
    heard: Arc<Mutex<Vec<String>>>,
}

impl Agent {
    fn start(test: &str) -> Agent {
        let host = format!("svrun-{test}-{}", std::process::id());
        let namespace = NetNs::create(&host).expect("these tests need root");
        let folder = std::env::temp_dir().join(&host);
        std::fs::create_dir_all(&folder).unwrap();
        let listener = UnixListener::bind(folder.join("agent.sock")).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let record = heard.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                serve(stream, &namespace, &record);
            }
        });
        Agent { folder, host, heard }
    }

    fn selvage(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_selvage"));
        command.env("SELVAGE_AGENT", self.folder.join("agent.sock"));
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn output(&self, arguments: &[&str]) -> (String, String, Option<i32>) {
        let Output { stdout, stderr, status } = self.selvage(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(stdout), text(stderr), status.code())
    }

    fn heard(&self, kind: &str) -> usize {
        let prefix = format!("{{\"{kind}\"");
        self.heard.lock().unwrap().iter().filter(|line| line.starts_with(&prefix)).count()
    }

    /// Nothing of any workload is left: no process, record, group or link.
    fn assert_clean(&self) {
        let names = self.folder.join("workloads");
        let left: Vec<_> = std::fs::read_dir(&names)
            .map(|entries| entries.map(|e| e.unwrap().file_name()).collect())
            .unwrap_or_default();
        assert!(left.iter().all(|n| n.to_str().unwrap().ends_with(".log")), "{left:?}");
        let namespace = NetNs::named(&self.host).unwrap();
        let mut netlink = Netlink::open_in(&namespace).unwrap();
        eventually("its links are gone", || netlink.links("sv").unwrap().is_empty());
        let groups = std::fs::read_to_string("/proc/mounts").unwrap();
        for line in groups.lines().filter(|line| line.split(' ').nth(2) == Some("cgroup")) {
            let found = find_folder(Path::new(line.split(' ').nth(1).unwrap()), &self.host, 5);
            assert_eq!(found, None);
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        NetNs::delete(&self.host).unwrap();
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

fn serve(stream: UnixStream, host: &NetNs, heard: &Mutex<Vec<String>>) {
    let mut answers = stream.try_clone().unwrap();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let request: Request = serde_json::from_str(&line).unwrap();
        heard.lock().unwrap().push(line);
        let answer = match request {
            Request::Attach(attach) if attach.epg.ends_with("/nosuch") => {
                let message = format!("no such EPG: `{}`", attach.epg);
                let refusal = Refusal::new(Code::NoSuchEpg, message);
                serde_json::to_value(Response::Error(refusal.hint("apply it first"))).unwrap()
            }
            // One that is never answered.
            Request::Attach(attach) if attach.epg.ends_with("/slow") => continue,
            Request::Attach(attach) => attached(&attach, host),
            Request::Detach(detach) => json!({"detached": detach}),
            _ => json!({"endpoints": []}),
        };
        if writeln!(answers, "{answer}").is_err() {
            break;
        }
    }
}

fn attached(attach: &Attach, host: &NetNs) -> Value {
    let inside = NetNs::open(&attach.netns).unwrap();
    let name =
        format!("sv{:08x}", attach.id.0.bytes().fold(7u32, |h, b| h * 31 % 65_521 + u32::from(b)));
    let mut netlink = Netlink::open_in(host).unwrap();
    let veth = Veth {
        name: &name,
        mac: None,
        peer: &attach.ifname,
        peer_mac: attach.mac,
        peer_namespace: Some(&inside),
        mtu: 1450,
        group: 0,
    };
    let index = netlink.create_veth(&veth).unwrap();
    netlink.change(index, Change { up: Some(true), ..Change::default() }).unwrap();
    let mut inside = Netlink::open_in(&inside).unwrap();
    let eth0 = inside.index_of(&attach.ifname).unwrap();
    inside.change(eth0, Change { up: Some(true), ..Change::default() }).unwrap();
    let ips =
        if attach.ip.is_empty() { vec!["192.0.2.7".parse().unwrap()] } else { attach.ip.clone() };
    for ip in &ips {
        inside.add_address(eth0, *ip, 24).unwrap();
    }
    let addresses: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip, "prefix_len": 24})).collect();
    json!({"attached": {
        "id": attach.id, "host": "h1", "group": "uni/tn-shop/ap-store/epg-web", "stage": "ready",
        "mac": "02:00:00:00:00:07", "addresses": addresses, "netns": attach.netns,
        "ifname": attach.ifname, "host_ifname": name, "ifindex": index, "mtu": 1450, "revision": 1,
        "timings": {"linked_us": 1, "resolved_us": 2, "declared_us": 3, "enforced_us": 4,
            "ready_us": 4321},
    }})
}

fn find_folder(top: &Path, part: &str, depth: usize) -> Option<PathBuf> {
    let entries = std::fs::read_dir(top).ok()?;
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()) {
        if path.file_name()?.to_str()?.contains(part) {
            return Some(path);
        }
        if depth > 0
            && let Some(found) = find_folder(&path, part, depth - 1)
        {
            return Some(found);
        }
    }
    None
}

fn eventually(what: &str, mut f: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !f() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        std::thread::yield_now();
    }
}

/// Reads until `text` has come.
fn read_until(child: &mut Child, text: &str) {
    let mut seen = String::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    while !seen.contains(text) {
        assert_ne!(reader.read_line(&mut seen).unwrap(), 0, "ended after `{seen}`");
    }
    child.stdout = Some(reader.into_inner());
}

#[test]
fn a_command_runs_as_an_endpoint_and_its_status_is_passed_on() {
    let agent = Agent::start("run");
    let (out, err, code) = agent.output(&[
        "run",
        "--epg",
        "shop/store/web",
        "--name",
        "web-1",
        "--ip",
        "192.0.2.9",
        "--mac",
        "02:00:00:00:00:09",
        "--memory",
        "64M",
        "--pids",
        "32",
        "--cpus",
        "0.5",
        "--env",
        "A=b",
        "--",
        "sh",
        "-c",
        "ip -o -4 addr show eth0; cat /sys/class/net/eth0/address; hostname; echo $A; exit 7",
    ]);
    assert_eq!(code, Some(7), "{out}{err}");
    assert!(out.contains("192.0.2.9/24") && out.contains("02:00:00:00:00:09\nweb-1\nb\n"), "{out}");
    assert_eq!(err, "web-1: 192.0.2.9 in uni/tn-shop/ap-store/epg-web, attached in 4.3 ms\n");
    assert_eq!((agent.heard("attach"), agent.heard("detach")), (1, 1));
    agent.assert_clean();
}

#[test]
fn a_failure_is_one_clear_message_with_its_code_and_leaves_nothing() {
    let agent = Agent::start("fail");
    for (arguments, code, words) in [
        (&["--epg", "shop/store/nosuch", "--", "true"][..], 2, "no such EPG: `shop/store/nosuch`"),
        (&["--epg", "shop/store/web", "--", "no-such-program"], 2, "`no-such-program`"),
        (&["--epg", "shop/store/web", "--", "/etc"], 2, "`/etc`"),
        (&["--epg", "shop", "--", "true"], 2, "`shop` is not a group"),
        (&["--epg", "shop/store/web", "--rootfs", "/etc", "--", "true"], 2, "`/etc`"),
        (&["--epg", "shop/store/web", "--memory", "lots", "--", "true"], 2, "64M"),
        (&["--epg", "shop/store/web", "--name", "a/b", "--", "true"], 2, "a name has"),
        (&["--epg", "shop/store/web", "--bind", "/nosuch", "--", "true"], 1, "`/nosuch`"),
        (&["--epg", "shop/store/web", "--agent", "/nosuch.sock", "--", "true"], 3, "/nosuch.sock"),
    ] {
        let all: Vec<&str> = ["run"].iter().chain(arguments).copied().collect();
        let (out, err, got) = agent.output(&all);
        assert_eq!(got, Some(code), "{all:?}: {err}");
        assert!(err.contains(words), "{all:?}: {err}");
        assert_eq!(out, "");
        agent.assert_clean();
    }
    assert_eq!(agent.heard("attach"), 1, "a network was attached before the command was found");
}

#[test]
fn without_root_it_says_so() {
    let agent = Agent::start("user");
    // Reached from a place where another user may execute it.
    let copy = agent.folder.join("selvage");
    std::fs::copy(env!("CARGO_BIN_EXE_selvage"), &copy).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--clear-groups"]).arg(copy);
    command.args(["run", "--epg", "shop/store/web", "--", "true"]);
    let output = command.output().expect("this test needs setpriv of util-linux");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("root") && text.contains("hint"), "{text}");
}

#[test]
fn detached_it_is_listed_entered_and_stopped() {
    let agent = Agent::start("detach");
    let script = "echo started; trap 'echo asked; exit 0' TERM; while :; do sleep 0.01; done";
    let (out, err, code) = agent.output(&[
        "run",
        "--epg",
        "shop/store/web",
        "--name",
        "web-1",
        "-d",
        "-o",
        "json",
        "--",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(code, Some(0), "{err}");
    let workload: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(workload["name"], "web-1");
    assert_eq!(workload["addresses"], json!(["192.0.2.7"]));

    let (out, _, _) = agent.output(&["ps"]);
    assert!(out.contains("web-1") && out.contains("tn-shop/ap-store/epg-web"), "{out}");
    let again = ["run", "--epg", "shop/store/web", "--name", "web-1", "--", "true"];
    let (_, err, code) = agent.output(&again);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("`web-1` is running"), "{err}");

    let exec = ["exec", "web-1", "--", "sh", "-c", "hostname; ls /sys/class/net; exit 9"];
    let (out, err, code) = agent.output(&exec);
    assert_eq!((out.as_str(), code), ("web-1\neth0\nlo\n", Some(9)), "{err}");
    let (_, err, code) = agent.output(&["exec", "web-2", "--", "true"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("`web-2`"), "{err}");

    let (_, err, code) = agent.output(&["stop", "web-1"]);
    assert_eq!(code, Some(0), "{err}");
    let log = std::fs::read_to_string(agent.folder.join("workloads/web-1.log")).unwrap();
    assert_eq!(log, "started\nasked\n");
    assert_eq!(agent.output(&["ps", "-o", "json"]).0.trim(), "[]");
    assert_eq!(agent.heard("detach"), 1);
    agent.assert_clean();
}

#[test]
fn a_stubborn_one_is_made_to_stop() {
    let agent = Agent::start("stubborn");
    let script = "trap '' TERM; while :; do sleep 1; done";
    let run = ["run", "--epg", "shop/store/web", "--name", "db", "-d", "--", "sh", "-c", script];
    assert_eq!(agent.output(&run).2, Some(0));
    let (_, err, code) = agent.output(&["stop", "--time", "0", "db"]);
    assert_eq!(code, Some(0), "{err}");
    agent.assert_clean();
}

#[test]
fn signals_are_passed_on_and_killing_the_caller_leaves_nothing() {
    let agent = Agent::start("signal");
    let script = "trap 'exit 5' INT; echo ready; while :; do sleep 0.01; done";
    let start = || {
        let run = ["run", "--epg", "shop/store/web", "--name", "app", "--", "sh", "-c", script];
        let mut child = agent.selvage(&run).stdout(Stdio::piped()).spawn().unwrap();
        read_until(&mut child, "ready\n");
        child
    };
    let mut child = start();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5));
    agent.assert_clean();

    let mut child = start();
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the agent was told", || agent.heard("detach") == 2);
    eventually("the name is free", || agent.output(&["ps", "-o", "json"]).0.trim() == "[]");
    // Its standard output ends with the command.
    child.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
    eventually("its record is gone", || !agent.folder.join("workloads/app.json").exists());
    agent.assert_clean();
}

#[test]
fn interrupted_while_attaching_it_ends_at_once() {
    let agent = Agent::start("slow");
    let run = ["run", "--epg", "shop/store/slow", "--", "true"];
    let child = agent.selvage(&run).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the agent was asked", || agent.heard("attach") == 1);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{text}");
    eventually("its record is gone", || {
        std::fs::read_dir(agent.folder.join("workloads")).map_or(true, |mut e| e.next().is_none())
    });
    agent.assert_clean();
}
