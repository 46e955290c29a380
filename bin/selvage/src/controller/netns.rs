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

#[cfg(test)]
mod tests {
    use super::*;

    /// Needs root, for a namespace of its own.
    #[test]
    fn a_listener_stays_in_the_namespace_it_was_made_in() {
        let (tell, told) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let holder = std::thread::spawn(move || {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET).expect("this test needs root");
            tell.send(format!("/proc/self/task/{}/ns/net", nix::unistd::gettid())).unwrap();
            let _ = released.recv();
        });
        let netns = told.recv().unwrap();
        let inside = listen("127.0.0.1:0".parse().unwrap(), Some(Path::new(&netns))).unwrap();
        let address = inside.local_addr().unwrap();
        // The same port is free out here, where nobody answers on it.
        listen(address, None).unwrap();
        assert!(std::net::TcpStream::connect(address).is_err());
        drop(release);
        holder.join().unwrap();
    }

    #[test]
    fn a_namespace_that_is_none_is_named() {
        let any = "127.0.0.1:0".parse().unwrap();
        for path in ["/nowhere/ns", "/dev/null"] {
            let error = format!("{:#}", listen(any, Some(Path::new(path))).unwrap_err());
            assert!(error.contains(path), "{error}");
        }
    }
}
