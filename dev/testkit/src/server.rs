//! The one who answers: with its name, so that a probe knows whom it reached.
//!
//! Per port: a TCP connection gets the line `NAME PORT` and is closed; a UDP datagram comes back
//! with ` NAME PORT` behind it. On stream ports a TCP connection gets numbered words until it is
//! closed (see [`crate::transfer::Stream`]). Both address families, one thread.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use selvage_host::NetNs;

use crate::transfer::stream;

/// How long a server may overlook that it is to end, in milliseconds.
const TICK: u16 = 50;

/// A server's sockets, open and listening.
#[derive(Debug)]
pub struct Server {
    name: String,
    ports: Vec<Port>,
}

#[derive(Debug)]
enum Port {
    Tcp(TcpListener, u16),
    Udp(UdpSocket, u16),
    Stream(TcpListener),
}

/// A server that runs in a thread; ended when dropped.
#[derive(Debug)]
pub struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<io::Result<()>>>,
}

impl Server {
    /// Opens the sockets in the calling thread's namespace.
    pub fn open(name: &str, ports: &[u16], streams: &[u16]) -> io::Result<Server> {
        let mut open = Vec::new();
        for &port in ports {
            open.push(Port::Tcp(listen(port)?, port));
            let socket = both(port, UdpSocket::bind)?;
            socket.set_nonblocking(true)?;
            open.push(Port::Udp(socket, port));
        }
        for &port in streams {
            open.push(Port::Stream(listen(port)?));
        }
        Ok(Server { name: name.to_owned(), ports: open })
    }

    /// Opens the sockets in `namespace` and answers in a thread.
    pub fn start(
        namespace: &NetNs,
        name: &str,
        ports: &[u16],
        streams: &[u16],
    ) -> anyhow::Result<Running> {
        let server = namespace.run(|| Server::open(name, ports, streams))??;
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = thread::spawn(move || server.answer(&told));
        Ok(Running { stop, thread: Some(thread) })
    }

    /// Answers until told to stop.
    pub fn answer(&self, stop: &AtomicBool) -> io::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let mut fds: Vec<PollFd<'_>> =
                self.ports.iter().map(|port| PollFd::new(port.fd(), PollFlags::POLLIN)).collect();
            match poll(&mut fds, PollTimeout::from(TICK)) {
                Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
                done => done?,
            };
            for (port, fd) in self.ports.iter().zip(fds) {
                if fd.any().unwrap_or(false) {
                    // One client's trouble is not the others'.
                    let _ = port.serve(&self.name);
                }
            }
        }
        Ok(())
    }
}

impl Port {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Port::Tcp(listener, _) | Port::Stream(listener) => listener.as_fd(),
            Port::Udp(socket, _) => socket.as_fd(),
        }
    }

    fn serve(&self, name: &str) -> io::Result<()> {
        match self {
            Port::Tcp(listener, port) => {
                let (mut client, _) = listener.accept()?;
                client.write_all(format!("{name} {port}\n").as_bytes())
            }
            Port::Udp(socket, port) => {
                let mut datagram = [0; 2048];
                let (length, from) = socket.recv_from(&mut datagram)?;
                let mut answer = datagram.get(..length).unwrap_or_default().to_vec();
                answer.extend(format!(" {name} {port}").as_bytes());
                socket.send_to(&answer, from).map(drop)
            }
            Port::Stream(listener) => {
                let (client, _) = listener.accept()?;
                // It ends when its client does, or with this process.
                thread::spawn(move || stream_to(client));
                Ok(())
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads the rate the client wants, then sends until it is gone.
fn stream_to(mut client: TcpStream) -> io::Result<()> {
    let mut rate = [0; 8];
    client.set_read_timeout(Some(Duration::from_secs(5)))?;
    client.read_exact(&mut rate)?;
    stream::send(&mut client, u64::from_be_bytes(rate))
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let listener = both(port, TcpListener::bind)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A socket for both families, or for IPv4 where there is no IPv6.
fn both<T>(port: u16, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    match bind((Ipv6Addr::UNSPECIFIED, port).into()) {
        Err(error) if is_no_ipv6(&error) => bind((Ipv4Addr::UNSPECIFIED, port).into()),
        done => done,
    }
}

fn is_no_ipv6(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT)
        || error.kind() == ErrorKind::AddrNotAvailable
}
