//! What is being done, said while it is done.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Says what comes next.
pub fn step(what: &str) {
    eprintln!("\n== {what}");
}

/// A bar that shows how far something is; hidden where standard error is no terminal.
pub fn bar(length: usize, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(length).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("   {msg} {pos}/{len} {wide_bar}") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
