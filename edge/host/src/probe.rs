//! What this machine must have, each with a name and a way to see whether it is there.

use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;

use crate::error::{Error, Result};
use crate::link::new_link;
use crate::netlink::Netlink;

/// Something a machine has or lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// The process is root with the capabilities NET_ADMIN, SYS_ADMIN and BPF.
    Root,
    /// tcx attachment of BPF programs, since Linux 6.6.
    Tcx,
    /// The kernel's type information, which CO-RE programs are relocated by.
    Btf,
    /// The BPF file system.
    Bpffs,
    /// veth pairs.
    Veth,
    /// VXLAN devices.
    Vxlan,
    /// User namespaces.
    UserNamespaces,
}

impl Feature {
    /// What an agent needs.
    pub const AGENT: &[Feature] =
        &[Feature::Root, Feature::Tcx, Feature::Btf, Feature::Bpffs, Feature::Veth, Feature::Vxlan];

    /// What an agent needs that has Open vSwitch enforce.
    pub const SWITCH: &[Feature] = &[Feature::Root, Feature::Veth];

    /// What the sandbox needs.
    pub const SANDBOX: &[Feature] = &[Feature::Root, Feature::UserNamespaces];

    /// What it is, as people say it.
    pub fn name(self) -> &'static str {
        match self {
            Feature::Root => "root, with the capabilities NET_ADMIN, SYS_ADMIN and BPF",
            Feature::Tcx => "tcx (Linux 6.6 or later)",
            Feature::Btf => "BTF of the kernel",
            Feature::Bpffs => "the BPF file system",
            Feature::Veth => "veth links",
            Feature::Vxlan => "VXLAN devices",
            Feature::UserNamespaces => "user namespaces",
        }
    }

    /// Whether this machine has it.
    pub fn present(self) -> bool {
        match self {
            Feature::Root => root(),
            Feature::Tcx => kernel_version().is_none_or(|version| version >= (6, 6)),
            Feature::Btf => Path::new("/sys/kernel/btf/vmlinux").exists(),
            Feature::Bpffs => lists("/proc/filesystems", "bpf"),
            Feature::Veth => link_kind("veth"),
            Feature::Vxlan => link_kind("vxlan"),
            Feature::UserNamespaces => {
                let limit = fs::read_to_string("/proc/sys/user/max_user_namespaces");
                Path::new("/proc/self/ns/user").exists()
                    && limit.is_ok_and(|text| text.trim() != "0")
            }
        }
    }

    /// What is missing and what to do, in one line.
    pub fn lack(&self) -> String {
        match self {
            Feature::Root => "this needs root, with the capabilities NET_ADMIN, SYS_ADMIN and BPF\n  hint: use sudo".to_owned(),
            Feature::Tcx => {
                let (major, minor) = kernel_version().unwrap_or_default();
                format!("the kernel lacks tcx, which came with Linux 6.6; this is {major}.{minor}")
            }
            Feature::Btf => "the kernel lacks BTF (CONFIG_DEBUG_INFO_BTF): there is no `/sys/kernel/btf/vmlinux`".to_owned(),
            Feature::Bpffs => "the kernel lacks the BPF file system (CONFIG_BPF_SYSCALL)".to_owned(),
            Feature::Veth => "the kernel lacks veth links (CONFIG_VETH)\n  hint: modprobe veth".to_owned(),
            Feature::Vxlan => "the kernel lacks VXLAN (CONFIG_VXLAN)\n  hint: modprobe vxlan".to_owned(),
            Feature::UserNamespaces => "the kernel lacks user namespaces (CONFIG_USER_NS), or `/proc/sys/user/max_user_namespaces` is 0".to_owned(),
        }
    }
}

/// Fails with every one of `features` that this machine lacks. Without root the others cannot be
/// told, so only that is named.
pub fn require(features: &[Feature]) -> Result<()> {
    if features.contains(&Feature::Root) && !Feature::Root.present() {
        return Err(Error::Lacks(vec![Feature::Root]));
    }
    let lacking: Vec<Feature> = features.iter().copied().filter(|f| !f.present()).collect();
    if lacking.is_empty() { Ok(()) } else { Err(Error::Lacks(lacking)) }
}

/// Numbers of capabilities(7).
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

fn root() -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let held = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    let has = |cap: u32| held & (1 << cap) != 0;
    geteuid().is_root() && has(CAP_NET_ADMIN) && has(CAP_SYS_ADMIN) && has(CAP_BPF)
}

fn kernel_version() -> Option<(u32, u32)> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut parts = release.split(['.', '-', '+', '\n']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn lists(path: &str, word: &str) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().any(|line| line.split_whitespace().next_back() == Some(word))
}

/// Whether the kernel knows links of this kind: makes one in a namespace of a thread of its own,
/// which ends with it. (A module is loaded by this on kernels that have them.) A kind that is known
/// may still refuse a link with so few words; only an unknown one is EOPNOTSUPP.
fn link_kind(kind: &'static str) -> bool {
    let made = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|_| Errno::EPERM)?;
        let mut netlink = Netlink::open().map_err(|_| Errno::EPERM)?;
        let mut request = new_link("probe0", libc::NLM_F_CREATE | libc::NLM_F_EXCL);
        request.nest(libc::IFLA_LINKINFO, |r| {
            r.text(libc::IFLA_INFO_KIND, kind);
        });
        let answer = netlink.call(request, || format!("probing for {kind}"));
        answer.map(drop).map_err(|error| error.errno().unwrap_or(Errno::EPERM))
    });
    !matches!(made.join(), Err(_) | Ok(Err(Errno::EOPNOTSUPP | Errno::EPERM)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_everything_and_an_unknown_kind_is_told() {
        assert_eq!(require(Feature::AGENT).map_err(|e| e.to_string()), Ok(()));
        assert_eq!(require(Feature::SANDBOX).map_err(|e| e.to_string()), Ok(()));
        assert!(!link_kind("nosuchkind"));
    }

    #[test]
    fn every_lack_names_its_feature() {
        let text = Error::Lacks(vec![Feature::Vxlan, Feature::Btf]).to_string();
        assert!(text.contains("VXLAN") && text.contains("BTF"), "{text}");
    }
}
