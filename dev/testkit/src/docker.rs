//! A Docker engine of one's own, in the network namespace of a host.
//!
//! Debian's `dockerd` with everything private: mounts (so `/run/docker/plugins` is a folder of the
//! caller's), processes (so that nothing outlives the engine, not even after a `kill -9`), data,
//! sockets, cgroups. No registry is asked for anything: images are made of programs of this machine.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Debian's engine and its client of the same age; a newer client may come first on the path.
const DOCKERD: &str = "/usr/sbin/dockerd";
const DOCKER: &str = "/usr/bin/docker";

/// How long the engine may take to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// The file that says which process keeps the namespaces, and which cgroup the containers are in.
const KEEPER: &str = "keeper";

/// How often something that must become true is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// Told apart within one process.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// What an engine is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The network namespace it lives in.
    pub netns: PathBuf,
    /// The folder that is to be its `/run/docker/plugins`. A socket in it is a plugin by its name.
    pub plugins: PathBuf,
    /// A folder for its data, not below `/run`.
    pub dir: PathBuf,
    /// It ends with the thread that starts it, however that ends.
    pub bound: bool,
    /// Containers live on when it ends (`--live-restore`).
    pub live_restore: bool,
}

/// A running engine. Dropping it ends it and all of its containers.
#[derive(Debug)]
pub struct Engine {
    plan: Plan,
    cgroup: String,
    /// Keeps the namespaces: `unshare`, whose child is process 1 of them.
    keeper: Child,
    init: Pid,
    engine: Option<Child>,
}

impl Engine {
    /// Starts one and waits until it answers.
    pub fn start(plan: Plan) -> Result<Engine> {
        ensure!(
            Path::new(DOCKERD).exists() && Path::new(DOCKER).exists(),
            "{DOCKERD} is missing: `make deps` installs Debian's docker.io"
        );
        for folder in [&plan.dir, &plan.plugins] {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let keeper = keep(&plan)?;
        let unshare = Pid::from_raw(keeper.id().cast_signed());
        let mut engine = Engine {
            plan,
            cgroup: format!("svdocker-{}-{number}", std::process::id()),
            keeper,
            init: unshare,
            engine: None,
        };
        engine.init = wait("process 1 of the engine's namespaces", || {
            if let Ok(Some(status)) = engine.keeper.try_wait() {
                return Some(Err(anyhow!(
                    "no namespaces for Docker ({status}): {}",
                    engine.kept()
                )));
            }
            let child = child_of(unshare)?;
            let ready = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
            (ready.trim() == "tini").then_some(Ok(child))
        })??;
        let note = format!("{} {}", engine.keeper.id(), engine.cgroup);
        fs::write(engine.plan.dir.join(KEEPER), note)?;
        engine.start_again()?;
        Ok(engine)
    }

    /// Starts the engine proper, after [`Engine::stop`] or [`Engine::kill`].
    pub fn start_again(&mut self) -> Result<()> {
        // One that was killed leaves its own, and takes it for a sign of life.
        let _ = fs::remove_file(self.plan.dir.join("dockerd.pid"));
        let log = fs::File::options().create(true).append(true).open(self.log_path())?;
        let mut command = self.enter();
        command.arg(DOCKERD).args(["--debug", "--storage-driver", "vfs"]);
        command.args(["--exec-opt", "native.cgroupdriver=cgroupfs"]);
        command.arg("--cgroup-parent").arg(format!("/{}", self.cgroup));
        for (flag, name) in [
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "dockerd.pid"),
            ("--config-file", "daemon.json"),
        ] {
            command.arg(flag).arg(self.plan.dir.join(name));
        }
        fs::write(self.plan.dir.join("daemon.json"), "{}")?;
        command.arg("--host").arg(self.address());
        if self.plan.live_restore {
            command.arg("--live-restore");
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.engine = Some(command.spawn().context("starting dockerd")?);
        let deadline = Instant::now() + PATIENCE;
        while self.docker(&["version"]).is_err() {
            let ended = self.engine.as_mut().is_some_and(|e| !matches!(e.try_wait(), Ok(None)));
            ensure!(
                !ended && Instant::now() < deadline,
                "dockerd does not answer:\n{}",
                self.log()
            );
            std::thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// Whether containers live on when it ends, from its next start on.
    pub fn set_live_restore(&mut self, live_restore: bool) {
        self.plan.live_restore = live_restore;
    }

    /// Ends the engine proper as an administrator would.
    pub fn stop(&mut self) -> Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// Ends the engine proper at once.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        let Some(mut entered) = self.engine.take() else { return Ok(()) };
        // `nsenter` waits for the engine, which is its child.
        if let Some(engine) = child_of(Pid::from_raw(entered.id().cast_signed())) {
            kill(engine, signal)?;
        }
        wait("the end of dockerd", || entered.try_wait().ok().flatten()).map(drop)
    }

    /// Runs `docker` with these words; what it prints. What it says where it fails is the error.
    pub fn docker(&self, words: &[&str]) -> Result<String> {
        let output = self.client(words).output().context("starting docker")?;
        let said = [&output.stderr[..], &output.stdout].map(String::from_utf8_lossy).concat();
        ensure!(output.status.success(), "{} ({})", said.trim(), output.status);
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// `docker` with these words, to be run.
    pub fn client(&self, words: &[&str]) -> Command {
        let mut command = Command::new(DOCKER);
        command.arg("--host").arg(self.address()).args(words);
        // Nothing of the caller's own set-up may lead elsewhere.
        for name in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY"] {
            command.env_remove(name);
        }
        command.env("DOCKER_CONFIG", &self.plan.dir).stdin(Stdio::null());
        command.process_group(0);
        command
    }

    /// Where its API listens, `unix://...`.
    pub fn address(&self) -> String {
        format!("unix://{}", self.plan.dir.join("docker.sock").display())
    }

    /// Makes an image of programs of this machine, each at `/NAME`, with the libraries they need.
    pub fn make_image(&self, image: &str, programs: &[&Path]) -> Result<()> {
        let root = self.plan.dir.join("image");
        for program in programs {
            let name = program.file_name().context("a program has a name")?;
            install(program, &root.join(name))?;
            for library in libraries(program)? {
                install(&library, &root.join(library.strip_prefix("/")?))?;
            }
        }
        let archive = Command::new("tar").arg("-C").arg(&root).args(["-c", "."]).output()?;
        ensure!(archive.status.success(), "tar: {}", String::from_utf8_lossy(&archive.stderr));
        let mut import = self.client(&["import", "-", image]);
        import.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut import = import.spawn()?;
        import.stdin.take().context("docker reads")?.write_all(&archive.stdout)?;
        let output = import.wait_with_output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        fs::remove_dir_all(&root)?;
        Ok(())
    }

    /// The network namespace of a container, as a path that this process can open.
    pub fn netns_of(&self, container: &str) -> Result<PathBuf> {
        let key = self.docker(&["inspect", "-f", "{{.NetworkSettings.SandboxKey}}", container])?;
        ensure!(!key.is_empty(), "container `{container}` has no network namespace");
        // Docker mounts them in its own mount namespace.
        Ok(PathBuf::from(format!("/proc/{}/root{key}", self.init)))
    }

    /// The process that holds all others of this engine: ending it ends them.
    pub fn keeper(&self) -> u32 {
        self.keeper.id()
    }

    /// Leaves it running.
    pub fn leave(mut self) {
        self.engine = None;
        std::mem::forget(self);
    }

    /// What the engine wrote.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(60)..).unwrap_or_default().join("\n")
    }

    /// What went wrong with the namespaces.
    fn kept(&self) -> String {
        fs::read_to_string(self.plan.dir.join("keeper.log")).unwrap_or_default().trim().to_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.plan.dir.join("dockerd.log")
    }

    /// A command in the engine's namespaces.
    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--pid", "--net", "--target", &self.init.to_string(), "--"]);
        command.process_group(0);
        command
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = end_keeper(self.init, &mut self.keeper) {
            eprintln!("docker: {error:#}");
        }
        remove_cgroups(&self.cgroup);
        if let Err(error) = fs::remove_dir_all(&self.plan.dir) {
            eprintln!("docker: removing {}: {error}", self.plan.dir.display());
        }
    }
}

/// Ends an engine that was left, or what is left of one that was killed, by the folder of its data.
pub fn remove_left_of(dir: &Path) -> Result<()> {
    let note = fs::read_to_string(dir.join(KEEPER)).unwrap_or_default();
    if let Some((keeper, cgroup)) = note.split_once(' ') {
        let name = || fs::read_to_string(format!("/proc/{keeper}/comm")).unwrap_or_default();
        if name().trim() == "unshare" {
            // What it keeps ends with it.
            kill(Pid::from_raw(keeper.parse()?), Signal::SIGKILL)?;
            wait("the end of an engine that was left", || {
                (name().trim() != "unshare").then_some(())
            })?;
        }
        remove_cgroups(cgroup);
    }
    fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))
}

/// Makes the namespaces. `/run` is empty in them but for the plugins, so no other engine's sockets
/// are found there; `/etc/docker` too, where an engine puts its key. Process 1 is one that buries the
/// dead: an engine that starts takes a zombie of its predecessor's `containerd` for a live one.
fn keep(plan: &Plan) -> Result<Child> {
    const SET_UP: &str = "set -e
mount --make-rprivate /
mount -t proc proc /proc
mount --bind . /mnt
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /etc/docker
mount -t tmpfs tmpfs /etc/docker
mkdir -p /run/docker/plugins
mount --move /mnt /run/docker/plugins
cd /
exec tini -- sleep infinity";
    let mut command = Command::new("nsenter");
    let mut net = std::ffi::OsString::from("--net=");
    net.push(&plan.netns);
    command.arg(net).args(["unshare", "--mount", "--pid", "--fork", "--kill-child"]);
    command.args(["sh", "-c", SET_UP]).current_dir(&plan.plugins).process_group(0);
    let log = fs::File::create(plan.dir.join("keeper.log"))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    if plan.bound {
        // SAFETY: between fork and exec only prctl(2) runs, which is async-signal-safe.
        unsafe {
            command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?));
        }
    }
    command.spawn().context("making namespaces for Docker: are nsenter and unshare installed?")
}

/// Process 1 of a process namespace takes all others with it.
fn end_keeper(init: Pid, keeper: &mut Child) -> Result<()> {
    let _ = kill(init, Signal::SIGKILL);
    wait("the end of Docker's namespaces", || keeper.try_wait().ok().flatten()).map(drop)
}

/// What is left of the engine's cgroups: folders, empty since nothing runs.
fn remove_cgroups(name: &str) {
    for mounted in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        remove_folders(&mounted.path().join(name));
    }
    remove_folders(&Path::new("/sys/fs/cgroup").join(name));
}

fn remove_folders(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_folders(&entry.path());
        }
    }
    // Where it is not there, nothing is to be done.
    let _ = fs::remove_dir(folder);
}

fn child_of(parent: Pid) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    Some(Pid::from_raw(children.split_whitespace().next()?.parse().ok()?))
}

fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("not within {} s: {what}", PATIENCE.as_secs());
        }
        std::thread::sleep(GLANCE);
    }
}

fn install(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().context("a file is in a folder")?;
    fs::create_dir_all(folder)?;
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    Ok(())
}

/// The libraries that a program is loaded with, and the loader.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("starting ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(words.map(PathBuf::from).collect())
}
