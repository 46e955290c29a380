//! Listening in another network namespace.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

/// Opens a listening socket inside the network namespace at `netns` (`/run/netns/NAME`,
/// `/proc/PID/ns/net`), or in this process's own.
///
/// A socket stays in the namespace it was made in, and so do the connections it accepts. The
/// namespace is entered by a thread that ends here, so no other thread ever leaves its own.
pub fn listen(address: SocketAddr, netns: Option<&Path>) -> Result<TcpListener> {
    let Some(path) = netns else { return bind(address) };
    let file = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
    let shown = path.display().to_string();
    let enter = move || -> Result<TcpListener> {
        setns(&file, CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("cannot enter the network namespace `{shown}`"))?;
        bind(address)
    };
    let thread = std::thread::Builder::new().name("netns-listen".into()).spawn(enter)?;
    thread.join().map_err(|_| anyhow!("the listening thread ended early"))?
}

fn bind(address: SocketAddr) -> Result<TcpListener> {
    let listener =
        TcpListener::bind(address).with_context(|| format!("cannot listen on `{address}`"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
