//! The eBPF data plane: programs, maps, attachment, events.
