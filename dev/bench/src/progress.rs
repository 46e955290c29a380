//! What is being done, and whether to go on.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};

/// Says on standard error what is being done; on a terminal in one line.
pub struct Progress {
    interrupted: Arc<AtomicBool>,
    terminal: bool,
}

impl Progress {
    /// Ctrl-C ends the bench at the next step, and everything it made goes.
    pub fn start() -> Result<Progress> {
        let interrupted = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&interrupted);
        ctrlc::set_handler(move || told.store(true, Ordering::Relaxed))
            .context("catching Ctrl-C")?;
        Ok(Progress { interrupted, terminal: std::io::stderr().is_terminal() })
    }

    /// The next thing begins; an error when it should not.
    pub fn step(&self, what: &str) -> Result<()> {
        ensure!(!self.interrupted.load(Ordering::Relaxed), "interrupted");
        let mut out = std::io::stderr().lock();
        // Whoever closed standard error does not want to know.
        let _ = match self.terminal {
            true => write!(out, "\r\x1b[K{what}"),
            false => writeln!(out, "{what}"),
        };
        let _ = out.flush();
        Ok(())
    }

    /// The line is free again.
    pub fn done(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
