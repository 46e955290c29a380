//! A controller in a thread: the OpFlex server of the product around a rule table of the test.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use selvage_host::NetNs;
use selvage_opflex::Time;
use selvage_opflex::ext::SelvageSource;
use selvage_opflex::server::{ConnId, Event, Output, Server, ServerConfig};
use selvage_rules::{Revision, Table};

enum Input {
    Connected(ConnId, String, TcpStream),
    Bytes(ConnId, Vec<u8>),
    Gone(ConnId),
    Commit(Arc<Table>),
    Stop,
}

/// A running controller.
pub struct Controller {
    inputs: Sender<Input>,
    thread: Option<thread::JoinHandle<()>>,
    applied: Arc<Mutex<BTreeMap<String, Revision>>>,
    address: SocketAddr,
}

impl Controller {
    /// Listens at `address` in `namespace`, and serves `table` as revision 1.
    pub fn start(namespace: &NetNs, address: SocketAddr, table: Table) -> Controller {
        let listener = namespace.run(|| TcpListener::bind(address)).unwrap().unwrap();
        let (inputs, queue) = channel();
        let applied = Arc::new(Mutex::new(BTreeMap::new()));
        let told = inputs.clone();
        thread::spawn(move || accept(&listener, address, &told));
        let known = applied.clone();
        let thread = thread::spawn(move || run(&queue, table, &known));
        Controller { inputs, thread: Some(thread), applied, address }
    }

    /// Makes `table` the policy.
    pub fn commit(&self, table: Table) {
        self.inputs.send(Input::Commit(Arc::new(table))).unwrap();
    }

    /// What an agent says it enforces.
    pub fn applied(&self, agent: &str) -> Option<Revision> {
        self.applied.lock().unwrap().get(agent).copied()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.inputs.send(Input::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, address: SocketAddr, inputs: &Sender<Input>) {
    for (number, stream) in (1..).zip(listener.incoming()) {
        let (Ok(stream), conn) = (stream, ConnId(number)) else { return };
        stream.set_nodelay(true).unwrap();
        let mut reader = stream.try_clone().unwrap();
        if inputs.send(Input::Connected(conn, address.to_string(), stream)).is_err() {
            return;
        }
        let told = inputs.clone();
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if told.send(Input::Bytes(conn, buffer[..length].to_vec())).is_err() {
                    return;
                }
            }
            let _ = told.send(Input::Gone(conn));
        });
    }
}

fn run(queue: &Receiver<Input>, table: Table, applied: &Mutex<BTreeMap<String, Revision>>) {
    let start = Instant::now();
    let now = || Time(u64::try_from(start.elapsed().as_millis()).unwrap());
    let mut server = Server::new(ServerConfig::new("test"), Revision(1), now());
    let mut source = SelvageSource::new(Arc::new(table));
    let mut revision = Revision(1);
    let mut streams: BTreeMap<ConnId, TcpStream> = BTreeMap::new();
    loop {
        let wait = server.poll_timeout().map_or(60_000, |(at, _)| at.0.saturating_sub(now().0));
        match queue.recv_timeout(Duration::from_millis(wait)) {
            Ok(Input::Connected(conn, local, stream)) => {
                streams.insert(conn, stream);
                server.connected(conn, &local, now());
            }
            Ok(Input::Bytes(conn, bytes)) => server.receive(conn, &bytes, &source, now()),
            Ok(Input::Gone(conn)) => {
                streams.remove(&conn);
                server.disconnected(conn, "the stream ended", now());
            }
            Ok(Input::Commit(table)) => {
                let new = SelvageSource::new(table);
                revision = Revision(revision.0 + 1);
                let change = source.diff(&new);
                source = new;
                server.commit(&source, &change, revision, now());
            }
            Ok(Input::Stop) => return,
            Err(_) => server.handle_timeout(now()),
        }
        while let Some(output) = server.poll_output() {
            match output {
                Output::Send { conn, bytes } => {
                    // A stream that broke is reported by its reader.
                    let _ = streams.get_mut(&conn).map(|stream| stream.write_all(&bytes));
                }
                Output::Close { conn } => drop(streams.remove(&conn)),
                Output::Event(Event::Applied(report)) => {
                    applied.lock().unwrap().insert(report.agent.to_string(), report.revision);
                }
                Output::Event(_) => {}
            }
        }
    }
}
