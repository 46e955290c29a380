//! Control groups, version 1 and version 2 (cgroups(7), the kernel's admin-guide/cgroup-v2).
//!
//! A machine may have both: each controller belongs to one hierarchy, of either version, and a
//! limit goes wherever its controller is. A limit without a controller is an error, never ignored.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::stat::{major, minor};

use super::spec::{IoLimits, Limits};
use super::{SandboxError, Setup};

/// Folder of our groups within each hierarchy.
const OURS: &str = "selvage";
/// The period over which processor time is counted, in microseconds.
const CPU_PERIOD: u64 = 100_000;
/// How long the kernel may take to let go of a group whose processes have ended.
const REMOVAL: Duration = Duration::from_secs(5);

/// What is limited by a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Controller {
    Cpu,
    Memory,
    Pids,
    Io,
}

impl Controller {
    const ALL: [Controller; 4] =
        [Controller::Cpu, Controller::Memory, Controller::Pids, Controller::Io];

    fn v1(self) -> &'static str {
        if self == Controller::Io { "blkio" } else { self.v2() }
    }

    fn v2(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Memory => "memory",
            Controller::Pids => "pids",
            Controller::Io => "io",
        }
    }
}

/// Where a controller is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Version 1, and the folder below which groups are made: the caller's own group, so that a
    /// sandbox stays within whatever limits its caller has.
    V1(PathBuf),
    /// Version 2, and the top of the hierarchy: groups cannot be made below one that has processes.
    V2(PathBuf),
}

/// Where this machine has its controllers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hierarchies {
    places: Vec<(Controller, Place)>,
}

impl Hierarchies {
    /// As mounted here and now.
    pub fn of_this_machine() -> Result<Hierarchies, SandboxError> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").setup("reading the mounts")?;
        let own = fs::read_to_string("/proc/self/cgroup").setup("reading the own control group")?;
        Ok(Hierarchies::read(&mounts, &own, |top| {
            fs::read_to_string(top.join("cgroup.controllers")).unwrap_or_default()
        }))
    }

    /// `offered` gives the controllers of the version-2 hierarchy mounted at a path.
    fn read(mounts: &str, own: &str, offered: impl Fn(&Path) -> String) -> Hierarchies {
        let mut places: Vec<(Controller, Place)> = Vec::new();
        for mount in mounts.lines().filter_map(CgroupMount::read) {
            for controller in Controller::ALL {
                let place = match mount.kind {
                    "cgroup" if mount.options.split(',').any(|o| o == controller.v1()) => {
                        Place::V1(mount.own_folder(own, controller.v1()))
                    }
                    "cgroup2"
                        if offered(mount.at)
                            .split_whitespace()
                            .any(|name| name == controller.v2()) =>
                    {
                        Place::V2(mount.at.to_owned())
                    }
                    _ => continue,
                };
                if places.iter().all(|(held, _)| *held != controller) {
                    places.push((controller, place));
                }
            }
        }
        Hierarchies { places }
    }

    fn place(&self, controller: Controller) -> Option<&Place> {
        self.places.iter().find(|(held, _)| *held == controller).map(|(_, place)| place)
    }
}

/// A line of mountinfo, proc_pid_mountinfo(5).
struct CgroupMount<'a> {
    root: &'a str,
    at: &'a Path,
    kind: &'a str,
    options: &'a str,
}

impl<'a> CgroupMount<'a> {
    fn read(line: &'a str) -> Option<CgroupMount<'a>> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let mut after = after.split(' ');
        let (root, at) = (before.next()?, Path::new(before.next()?));
        let kind = after.next()?;
        let options = after.nth(1)?;
        kind.starts_with("cgroup").then_some(CgroupMount { root, at, kind, options })
    }

    /// The group of this process in a version-1 hierarchy, as a folder below the mount.
    fn own_folder(&self, own: &str, controller: &str) -> PathBuf {
        let path = own.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (names, path) = rest.split_once(':')?;
            names.split(',').any(|name| name == controller).then_some(path)
        });
        // A mount may show only part of the hierarchy, as in a container.
        let below = path
            .and_then(|path| Path::new(path).strip_prefix(self.root).ok())
            .unwrap_or(Path::new(""));
        let folder = self.at.join(below);
        if folder.is_dir() { folder } else { self.at.to_owned() }
    }
}

/// The groups of one sandbox. Removed with [`Cgroup::remove`], or when dropped.
#[derive(Debug)]
pub(super) struct Cgroup {
    folders: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes groups called `name` with these limits, in every hierarchy that has one of the four
    /// controllers.
    pub fn create(
        hierarchies: &Hierarchies,
        name: &str,
        limits: &Limits,
        root: &Path,
    ) -> Result<Cgroup, SandboxError> {
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            let doing = format!("making control groups called `{name}`");
            return Err(SandboxError::Step { doing, why: "that is no name for one".to_owned() });
        }
        let mut settings = Settings::of(limits, root)?;
        if let Some(lacking) =
            settings.wanted.iter().find(|(controller, _)| hierarchies.place(*controller).is_none())
        {
            return Err(no_controller(lacking.0));
        }
        let mut cgroup = Cgroup { folders: Vec::new() };
        for (controller, place) in &hierarchies.places {
            let folder = cgroup.make(place, name, hierarchies)?;
            settings.write(*controller, place, &folder)?;
        }
        Ok(cgroup)
    }

    /// The folders of the groups, for whoever enters the sandbox later.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Takes a process in.
    pub fn add(&self, pid: u32) -> Result<(), SandboxError> {
        self.folders.iter().try_for_each(|folder| add(folder, pid))
    }

    /// Removes the groups. Their processes have ended.
    pub fn remove(&mut self) -> Result<(), SandboxError> {
        let deadline = Instant::now() + REMOVAL;
        for folder in std::mem::take(&mut self.folders) {
            remove(&folder, deadline).setup(|| format!("removing `{}`", folder.display()))?;
            // The folder of all our groups goes with the last of them.
            if let Some(ours) = folder.parent() {
                let _ = fs::remove_dir(ours);
            }
        }
        Ok(())
    }

    fn make(
        &mut self,
        place: &Place,
        name: &str,
        all: &Hierarchies,
    ) -> Result<PathBuf, SandboxError> {
        let (Place::V1(top) | Place::V2(top)) = place;
        let folder = top.join(OURS).join(name);
        if self.folders.contains(&folder) {
            return Ok(folder);
        }
        let doing = || format!("making the control group `{}`", folder.display());
        fs::create_dir_all(top.join(OURS)).setup(doing)?;
        if matches!(place, Place::V2(_)) {
            let enabled: Vec<String> = all
                .places
                .iter()
                .filter(|(_, other)| other == place)
                .map(|(controller, _)| format!("+{}", controller.v2()))
                .collect();
            for parent in [top.clone(), top.join(OURS)] {
                set(&parent.join("cgroup.subtree_control"), &enabled.join(" "))?;
            }
        }
        match fs::create_dir(&folder) {
            // Left by a monitor that was killed; its processes died with it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                remove(&folder, Instant::now()).setup(doing)?;
                fs::create_dir(&folder).setup(doing)?;
            }
            done => done.setup(doing)?,
        }
        self.folders.push(folder.clone());
        Ok(folder)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.remove();
    }
}

/// Takes a process into one group.
pub(super) fn add(folder: &Path, pid: u32) -> Result<(), SandboxError> {
    set(&folder.join("cgroup.procs"), &pid.to_string())
}

/// What is to be written for each controller.
struct Settings {
    wanted: Vec<(Controller, Setting)>,
}

enum Setting {
    Cpu { quota: u64 },
    Memory(u64),
    Pids(u32),
    Io { device: String, limits: IoLimits },
}

impl Settings {
    fn of(limits: &Limits, root: &Path) -> Result<Settings, SandboxError> {
        let mut wanted = Vec::new();
        if let Some(millicpus) = limits.millicpus {
            let quota = u64::from(millicpus) * CPU_PERIOD / 1000;
            wanted.push((Controller::Cpu, Setting::Cpu { quota }));
        }
        if let Some(bytes) = limits.memory {
            wanted.push((Controller::Memory, Setting::Memory(bytes)));
        }
        if let Some(count) = limits.pids {
            wanted.push((Controller::Pids, Setting::Pids(count)));
        }
        if let Some(io) = &limits.io {
            let device = disk_of(io.device.as_deref().unwrap_or(root))?;
            wanted.push((Controller::Io, Setting::Io { device, limits: io.clone() }));
        }
        Ok(Settings { wanted })
    }

    fn write(
        &mut self,
        controller: Controller,
        place: &Place,
        folder: &Path,
    ) -> Result<(), SandboxError> {
        for (_, setting) in self.wanted.iter().filter(|(wanted, _)| *wanted == controller) {
            for (file, value) in match place {
                Place::V1(_) => setting.v1(),
                Place::V2(_) => setting.v2(),
            } {
                set(&folder.join(file), &value)?;
            }
            if let Some((file, value)) = setting.swap(place) {
                // Only on kernels that count swap.
                if folder.join(file).exists() {
                    set(&folder.join(file), &value)?;
                }
            }
        }
        Ok(())
    }
}

impl Setting {
    fn v1(&self) -> Vec<(&'static str, String)> {
        match self {
            Setting::Cpu { quota } => vec![
                ("cpu.cfs_period_us", CPU_PERIOD.to_string()),
                ("cpu.cfs_quota_us", quota.to_string()),
            ],
            Setting::Memory(bytes) => vec![("memory.limit_in_bytes", bytes.to_string())],
            Setting::Pids(count) => vec![("pids.max", count.to_string())],
            Setting::Io { device, limits } => [
                ("blkio.throttle.read_bps_device", limits.read_bytes),
                ("blkio.throttle.write_bps_device", limits.write_bytes),
                ("blkio.throttle.read_iops_device", limits.read_ops),
                ("blkio.throttle.write_iops_device", limits.write_ops),
            ]
            .into_iter()
            .filter_map(|(file, limit)| Some((file, format!("{device} {}", limit?))))
            .collect(),
        }
    }

    fn v2(&self) -> Vec<(&'static str, String)> {
        match self {
            Setting::Cpu { quota } => vec![("cpu.max", format!("{quota} {CPU_PERIOD}"))],
            Setting::Memory(bytes) => vec![("memory.max", bytes.to_string())],
            Setting::Pids(count) => vec![("pids.max", count.to_string())],
            Setting::Io { device, limits } => {
                let words: Vec<String> = [
                    ("rbps", limits.read_bytes),
                    ("wbps", limits.write_bytes),
                    ("riops", limits.read_ops),
                    ("wiops", limits.write_ops),
                ]
                .into_iter()
                .filter_map(|(word, limit)| Some(format!("{word}={}", limit?)))
                .collect();
                vec![("io.max", format!("{device} {}", words.join(" ")))]
            }
        }
    }

    /// Swap beside the memory limit. Version 1 counts memory and swap together.
    fn swap(&self, place: &Place) -> Option<(&'static str, String)> {
        match (self, place) {
            (Setting::Memory(bytes), Place::V1(_)) => {
                Some(("memory.memsw.limit_in_bytes", bytes.to_string()))
            }
            (Setting::Memory(_), Place::V2(_)) => Some(("memory.swap.max", "0".to_owned())),
            _ => None,
        }
    }
}

/// The disk that `path` is, or is on, as `MAJOR:MINOR`. Throttling knows whole disks only.
fn disk_of(path: &Path) -> Result<String, SandboxError> {
    let meta = fs::metadata(path).setup(|| format!("reading `{}`", path.display()))?;
    let device = if meta.file_type().is_block_device() { meta.rdev() } else { meta.dev() };
    let number = format!("{}:{}", major(device), minor(device));
    let Ok(folder) = fs::canonicalize(format!("/sys/dev/block/{number}")) else {
        return Err(SandboxError::Limit {
            limit: "io".to_owned(),
            why: format!("`{}` is on no disk of its own (device {number})", path.display()),
            hint: "name the disk, as in /dev/sda".to_owned(),
        });
    };
    if !folder.join("partition").exists() {
        return Ok(number);
    }
    let whole = folder.parent().unwrap_or(&folder).join("dev");
    let text = fs::read_to_string(&whole).setup(|| format!("reading `{}`", whole.display()))?;
    Ok(text.trim().to_owned())
}

fn no_controller(controller: Controller) -> SandboxError {
    let (v1, v2) = (controller.v1(), controller.v2());
    SandboxError::Limit {
        limit: v2.to_owned(),
        why: format!("no control group hierarchy here has the controller `{v2}`"),
        hint: format!(
            "mount one, as in `mount -t cgroup -o {v1} {v1} /sys/fs/cgroup/{v1}`, or leave the limit out"
        ),
    }
}

fn set(file: &Path, value: &str) -> Result<(), SandboxError> {
    fs::write(file, value).setup(|| format!("writing `{value}` to `{}`", file.display()))
}

/// A group is busy for a moment after the last of its processes was reaped (the kernel frees the
/// task later), hence the retries.
fn remove(folder: &Path, deadline: Instant) -> io::Result<()> {
    loop {
        match fs::remove_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {}
            done => return done,
        }
        thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 25 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 /docker/1 /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
    const OWN: &str = "4:memory:/docker/1\n1:cpu,cpuacct:/\n0::/";

    fn limits() -> Limits {
        Limits { millicpus: Some(500), memory: Some(64 << 20), pids: Some(64), io: None }
    }

    #[test]
    fn each_controller_is_found_in_the_hierarchy_that_has_it() {
        let found = Hierarchies::read(HYBRID, OWN, |_| "pids misc".to_owned());
        let at = |path: &str| PathBuf::from(path);
        assert_eq!(found.place(Controller::Cpu), Some(&Place::V1(at("/sys/fs/cgroup/cpu"))));
        assert_eq!(found.place(Controller::Memory), Some(&Place::V1(at("/sys/fs/cgroup/memory"))));
        assert_eq!(found.place(Controller::Pids), Some(&Place::V2(at("/sys/fs/cgroup/unified"))));
        assert_eq!(found.place(Controller::Io), None);
    }

    #[test]
    fn a_limit_without_its_controller_is_refused_by_name_and_leaves_nothing() {
        let top = scratch("lacking");
        let hierarchies = Hierarchies { places: vec![(Controller::Cpu, Place::V1(top.clone()))] };
        let error = Cgroup::create(&hierarchies, "a", &limits(), Path::new("/")).unwrap_err();
        assert!(error.to_string().contains("`memory`"), "{error}");
        assert!(!top.join(OURS).exists());
        fs::remove_dir_all(top).unwrap();
    }

    /// Ordinary files stand in for the kernel's, which this machine may not have in version 2.
    #[test]
    fn version_2_gets_its_words() {
        let top = scratch("v2");
        let place = Place::V2(top.clone());
        let places = Controller::ALL.map(|controller| (controller, place.clone())).to_vec();
        let hierarchies = Hierarchies { places };
        let mut cgroup = Cgroup::create(&hierarchies, "web-1", &limits(), Path::new("/")).unwrap();
        let read = |path: &str| fs::read_to_string(top.join(path)).unwrap();
        assert_eq!(read("cgroup.subtree_control"), "+cpu +memory +pids +io");
        assert_eq!(read("selvage/cgroup.subtree_control"), "+cpu +memory +pids +io");
        assert_eq!(read("selvage/web-1/cpu.max"), "50000 100000");
        assert_eq!(read("selvage/web-1/memory.max"), "67108864");
        assert_eq!(read("selvage/web-1/pids.max"), "64");
        assert_eq!(cgroup.folders(), [top.join("selvage/web-1")]);
        cgroup.folders.clear();
        fs::remove_dir_all(top).unwrap();
    }

    #[test]
    fn io_limits_are_worded_for_both_versions() {
        let limits = IoLimits { read_bytes: Some(1024), write_ops: Some(7), ..IoLimits::default() };
        let setting = Setting::Io { device: "8:0".to_owned(), limits };
        assert_eq!(setting.v2(), [("io.max", "8:0 rbps=1024 wiops=7".to_owned())]);
        let v1: Vec<_> = setting.v1().into_iter().map(|(_, value)| value).collect();
        assert_eq!(v1, ["8:0 1024", "8:0 7"]);
    }

    fn scratch(what: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("svhost-{what}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }
}
