//! Loaded programs, and the links that hold them to a device. Both are file descriptors; libbpf-rs
//! knows no tcx links, so these are the few calls beneath it.

use std::ffi::{CString, c_void};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use selvage_agent::datapath::PlaneError;

use crate::error::{Doing, Result, refused};
use crate::layout::{Raw, types};

/// Where on a device a program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// What the device receives.
    Ingress,
    /// What the device is about to send.
    Egress,
}

/// A program in the kernel.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
}

/// What a run by [`Program::run_on_packet`] came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What the program returned: a `TC_ACT_*`.
    pub returned: u32,
    /// The packet as the program left it.
    pub packet: Vec<u8>,
    /// Its mark and its priority then.
    pub left: (u32, u32),
    /// Mean time of one run, in nanoseconds.
    pub nanoseconds: u32,
}

impl Program {
    pub(crate) fn new(fd: OwnedFd) -> Program {
        Program { fd }
    }

    /// Runs it on `packet`, as if that had come in by device `ifindex` of this network namespace,
    /// `repeat` times on the same buffer.
    pub fn run_on_packet(&self, packet: &[u8], ifindex: u32, repeat: i32) -> Result<Run> {
        let mut skb = Skb::default();
        skb.set(std::mem::offset_of!(types::__sk_buff, ifindex), &[ifindex]);
        self.run_with_skb(packet, skb, repeat)
    }

    /// Runs it on `packet` with a mark and control words, where a rehearsal looks for what an outer
    /// header says.
    pub(crate) fn run_from_tunnel(&self, packet: &[u8], mark: u32, words: [u32; 5]) -> Result<Run> {
        let mut skb = Skb::default();
        skb.set(std::mem::offset_of!(types::__sk_buff, mark), &[mark]);
        skb.set(std::mem::offset_of!(types::__sk_buff, cb), &words);
        self.run_with_skb(packet, skb, 1)
    }

    fn run_with_skb(&self, packet: &[u8], skb: Skb, repeat: i32) -> Result<Run> {
        let mut out = vec![0; packet.len() + 256];
        let mut after = Skb::default();
        let mut options = libbpf_sys::bpf_test_run_opts {
            sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
            data_in: packet.as_ptr().cast(),
            data_size_in: len(packet)?,
            data_out: out.as_mut_ptr().cast(),
            data_size_out: len(&out)?,
            ctx_in: skb.0.as_ptr().cast(),
            ctx_size_in: len(&skb.0)?,
            ctx_out: after.0.as_mut_ptr().cast(),
            ctx_size_out: len(&after.0)?,
            repeat,
            ..Default::default()
        };
        self.test_run(&mut options)?;
        out.truncate(options.data_size_out as usize);
        let mark = after.get(std::mem::offset_of!(types::__sk_buff, mark));
        let priority = after.get(std::mem::offset_of!(types::__sk_buff, priority));
        Ok(Run {
            returned: options.retval,
            packet: out,
            left: (mark, priority),
            nanoseconds: options.duration,
        })
    }

    /// Runs a `syscall` program once with `context`, which it may change.
    pub(crate) fn run_with<T: Raw>(&self, context: &mut T) -> Result<()> {
        let mut options = libbpf_sys::bpf_test_run_opts {
            sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
            ctx_in: std::ptr::from_mut(context).cast::<c_void>(),
            ctx_size_in: size_of::<T>() as u32,
            ..Default::default()
        };
        self.test_run(&mut options)
    }

    fn test_run(&self, options: &mut libbpf_sys::bpf_test_run_opts) -> Result<()> {
        // SAFETY: every pointer in `options` is to a buffer of the length given beside it, alive in
        // the caller.
        let code = unsafe { libbpf_sys::bpf_prog_test_run_opts(self.fd.as_raw_fd(), options) };
        check(code).map(drop).doing(|| "run a BPF program".to_owned())
    }
}

/// A packet's context. Bytes, since the kernel refuses one in which even padding is not zero.
struct Skb([u8; size_of::<types::__sk_buff>()]);

impl Default for Skb {
    fn default() -> Skb {
        Skb([0; size_of::<types::__sk_buff>()])
    }
}

impl Skb {
    fn set(&mut self, at: usize, words: &[u32]) {
        let bytes = words.iter().flat_map(|word| word.to_ne_bytes());
        self.0.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = from);
    }

    fn get(&self, at: usize) -> u32 {
        let word = self.0.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        word.map_or(0, u32::from_ne_bytes)
    }
}

fn len(bytes: &[u8]) -> Result<u32> {
    u32::try_from(bytes.len()).doing(|| "run a BPF program on so large a packet".to_owned())
}

/// libbpf returns `-errno`, and sets `errno` as well.
fn check(code: i32) -> io::Result<i32> {
    if code < 0 { Err(io::Error::from_raw_os_error(-code)) } else { Ok(code) }
}

/// A program held to a device. Pinned, it holds without any process.
#[derive(Debug)]
pub(crate) struct Link {
    fd: OwnedFd,
}

impl Link {
    /// Attaches `program` to the device `ifindex` of this network namespace.
    pub(crate) fn attach(program: &Program, ifindex: u32, hook: Hook) -> Result<Link> {
        let attach_type = match hook {
            Hook::Ingress => libbpf_sys::BPF_TCX_INGRESS,
            Hook::Egress => libbpf_sys::BPF_TCX_EGRESS,
        };
        let target = i32::try_from(ifindex).doing(|| format!("attach to link {ifindex}"))?;
        // SAFETY: plain numbers; no options.
        let code = unsafe {
            libbpf_sys::bpf_link_create(
                program.fd.as_raw_fd(),
                target,
                attach_type,
                std::ptr::null(),
            )
        };
        let fd = check(code).map_err(|error| match error.raw_os_error() {
            Some(nix::libc::ENODEV) => PlaneError::NoSuchPort { name: String::new(), ifindex },
            Some(nix::libc::EINVAL) => PlaneError::Unsupported {
                feature: "tcx".to_owned(),
                hint: "the eBPF data plane needs Linux 6.6 or later with CONFIG_NET_XGRESS"
                    .to_owned(),
            },
            _ => refused(format!("attach a BPF program to link {ifindex}"), error),
        })?;
        // SAFETY: a new descriptor that nobody else owns.
        Ok(Link { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// The link pinned at `path`, if there is one.
    pub(crate) fn open(path: &Path) -> Result<Option<Link>> {
        let name = c_path(path)?;
        // SAFETY: a NUL-terminated string, alive during the call.
        match check(unsafe { libbpf_sys::bpf_obj_get(name.as_ptr()) }) {
            // SAFETY: a new descriptor that nobody else owns.
            Ok(fd) => Ok(Some(Link { fd: unsafe { OwnedFd::from_raw_fd(fd) } })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(refused(format!("open the link pinned at `{}`", path.display()), error))
            }
        }
    }

    /// Pins it at `path`, in place of what is pinned there.
    pub(crate) fn pin(&self, path: &Path) -> Result<()> {
        let name = c_path(path)?;
        remove_pin(path)?;
        // SAFETY: a NUL-terminated string, alive during the call.
        let code = unsafe { libbpf_sys::bpf_obj_pin(self.fd.as_raw_fd(), name.as_ptr()) };
        check(code).map(drop).doing(|| format!("pin a link at `{}`", path.display()))
    }

    /// Puts `program` in the place of what it holds, in one step.
    pub(crate) fn update(&self, program: &Program) -> Result<()> {
        let (link, program) = (self.fd.as_raw_fd(), program.fd.as_raw_fd());
        // SAFETY: plain numbers; no options.
        let code = unsafe { libbpf_sys::bpf_link_update(link, program, std::ptr::null()) };
        check(code).map(drop).doing(|| "replace an attached BPF program".to_owned())
    }

    /// The device it is attached to; 0 once that has gone.
    pub(crate) fn ifindex(&self) -> Result<u32> {
        let mut info = libbpf_sys::bpf_link_info::default();
        let mut size = size_of_val(&info) as u32;
        let fd = self.fd.as_raw_fd();
        // SAFETY: `info` is as long as `size` says.
        let code = unsafe { libbpf_sys::bpf_link_get_info_by_fd(fd, &mut info, &mut size) };
        check(code).doing(|| "ask what a BPF link is attached to".to_owned())?;
        // SAFETY: only tcx links are made and opened here; that is the member the kernel filled in.
        Ok(unsafe { info.__bindgen_anon_1.tcx.ifindex })
    }

    /// Ends it now, whoever else holds it.
    pub(crate) fn detach(&self) -> Result<()> {
        // SAFETY: a plain number.
        let code = unsafe { libbpf_sys::bpf_link_detach(self.fd.as_raw_fd()) };
        check(code).map(drop).doing(|| "detach a BPF program".to_owned())
    }
}

/// Removes a pin; none is as good.
pub(crate) fn remove_pin(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(refused(format!("remove the pin `{}`", path.display()), error))
        }
        _ => Ok(()),
    }
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).doing(|| format!("use `{}`", path.display()))
}
