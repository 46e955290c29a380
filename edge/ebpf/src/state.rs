//! The state map, mapped into this process: the generation moves by one store.

use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::error::{Doing, Result};
use crate::layout::types;

/// The one entry of the state map. Only one process writes it; programs read it.
#[derive(Debug)]
pub struct State {
    entry: NonNull<types::state>,
}

// SAFETY: the mapping belongs to the process, not to a thread, and is reached by atomics only.
unsafe impl Send for State {}
// SAFETY: likewise.
unsafe impl Sync for State {}

impl State {
    /// Maps the entry of `map`, which was made with BPF_F_MMAPABLE.
    pub fn map(map: impl AsFd) -> Result<State> {
        let len = std::num::NonZeroUsize::MIN.saturating_add(size_of::<types::state>() - 1);
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address the kernel chooses.
        let mapped = unsafe { mmap(None, len, protection, MapFlags::MAP_SHARED, map, 0) };
        let mapped = mapped.doing(|| "map the BPF map `state`".to_owned())?;
        Ok(State { entry: mapped.cast() })
    }

    fn word_of(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: within the mapping, aligned to 8, lives as long as `self`, and everyone who
        // writes it does so by whole words.
        unsafe { AtomicU64::from_ptr(self.entry.as_ptr().cast::<u64>().byte_add(offset)) }
    }

    fn half_of(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: as above, aligned to 4.
        unsafe { AtomicU32::from_ptr(self.entry.as_ptr().cast::<u32>().byte_add(offset)) }
    }

    /// The generation, and which wildcards there are.
    pub fn word(&self) -> u64 {
        self.word_of(std::mem::offset_of!(types::state, word)).load(Ordering::SeqCst)
    }

    /// Makes what was written for `word`'s generation true.
    pub fn set_word(&self, word: u64) {
        self.word_of(std::mem::offset_of!(types::state, word)).store(word, Ordering::SeqCst);
    }

    /// The last revision that was applied.
    pub fn revision(&self) -> Option<u64> {
        let applied = self.half_of(std::mem::offset_of!(types::state, applied));
        let revision = self.word_of(std::mem::offset_of!(types::state, revision));
        (applied.load(Ordering::SeqCst) != 0).then(|| revision.load(Ordering::SeqCst))
    }

    /// Notes that `revision` was applied.
    pub fn set_revision(&self, revision: u64) {
        let applied = self.half_of(std::mem::offset_of!(types::state, applied));
        self.word_of(std::mem::offset_of!(types::state, revision))
            .store(revision, Ordering::SeqCst);
        applied.store(1, Ordering::SeqCst);
    }

    /// Sets the device by which other hosts are reached; 0 is none.
    pub fn set_overlay(&self, ifindex: u32) {
        self.half_of(std::mem::offset_of!(types::state, overlay)).store(ifindex, Ordering::SeqCst);
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // SAFETY: mapped by `State::map` with this length; no reference outlives `self`.
        let _ = unsafe { munmap(self.entry.cast::<libc::c_void>(), size_of::<types::state>()) };
    }
}
