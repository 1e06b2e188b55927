//! A network between a client and a server that can be slowed down, cut, or made to swallow everything.
//!
//! ```text
//! client ──> Proxy ──> server          Mode::Pass      at once
//!                                      Mode::Slow      each byte is delayed, in order, both ways
//!                                      Mode::Cut       connections are closed, new ones too
//!                                      Mode::HalfOpen  connections stay and nothing passes; those open then are dead
//!                                                      from then on, as behind a router that has forgotten them
//! ```
//!
//! The proxy has a thread of its own, so that it works while a test waits for something else.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// Largest number of bytes in one read.
const CHUNK: usize = 64 * 1024;
/// Chunks in flight in each direction; beyond this number the sender waits.
const UNDER_WAY: usize = 256;

/// The behaviour of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Pass,
    /// Passes everything on after this delay.
    Slow(Duration),
    /// Closes connections.
    Cut,
    /// Keeps connections open but passes nothing on.
    HalfOpen,
}

/// The current rules.
#[derive(Clone, Copy, Debug)]
struct Rules {
    mode: Mode,
    server: SocketAddr,
    /// Connections with a lower number are to be closed.
    closed_below: u64,
    /// Connections with a lower number are dead.
    dead_below: u64,
}

/// A proxy; its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    rules: watch::Sender<Rules>,
    /// Number of the next connection.
    next: &'static AtomicU64,
}

impl Proxy {
    /// Listens on a free port in front of a server of this machine.
    pub fn start(server_port: u16) -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("a free port")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let (rules, followed) = watch::channel(Rules {
            mode: Mode::Pass,
            server: local(server_port),
            closed_below: 0,
            dead_below: 0,
        });
        // The leak is small: a process makes few proxies.
        let next: &'static AtomicU64 = Box::leak(Box::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serve = async move {
            if let Ok(listener) = TcpListener::from_std(listener) {
                accept(&listener, &followed, next).await;
            }
        };
        std::thread::Builder::new()
            .name(format!("proxy {port}"))
            .spawn(move || runtime.block_on(serve))?;
        Ok(Self { port, rules, next })
    }

    /// Returns the port that clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the behaviour of the network.
    pub fn set(&self, mode: Mode) {
        let next = self.next.load(Ordering::SeqCst);
        self.rules.send_modify(|rules| {
            match mode {
                Mode::Cut => rules.closed_below = next,
                Mode::HalfOpen => rules.dead_below = u64::MAX,
                // Connections accepted meanwhile were never connected to the server.
                Mode::Pass | Mode::Slow(_) if rules.mode == Mode::HalfOpen => rules.dead_below = next,
                Mode::Pass | Mode::Slow(_) => {}
            }
            rules.mode = mode;
        });
    }

    /// Switches to another server of this machine, and closes connections to the former one.
    pub fn lead_to(&self, server_port: u16) {
        let next = self.next.load(Ordering::SeqCst);
        self.rules.send_modify(|rules| {
            rules.server = local(server_port);
            rules.closed_below = next;
        });
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Serves until the proxy is dropped.
async fn accept(listener: &TcpListener, rules: &watch::Receiver<Rules>, next: &'static AtomicU64) {
    let mut ended = rules.clone();
    let until_dropped = async move { while ended.changed().await.is_ok() {} };
    let accepting = async {
        while let Ok((client, _)) = listener.accept().await {
            let number = next.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(connection(client, number, rules.clone()));
        }
    };
    tokio::select! {
        () = until_dropped => {}
        () = accepting => {}
    }
}

/// Serves one client's connection until either end or the rules close it.
async fn connection(client: TcpStream, number: u64, rules: watch::Receiver<Rules>) {
    let Rules { mode, server, .. } = *rules.borrow();
    if mode == Mode::Cut {
        return;
    }
    let mut watched = rules.clone();
    let closed = async move {
        let is_closed = |rules: &Rules| number < rules.closed_below;
        // Once the proxy is dropped the rules no longer change, but the connections end too.
        let _ = watched.wait_for(is_closed).await;
    };
    let passing = async {
        if number < rules.borrow().dead_below {
            swallow(client).await;
            return;
        }
        let Ok(server) = TcpStream::connect(server).await else {
            return;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::select! {
            () = carry(from_client, to_server, number, rules.clone()) => {}
            () = carry(from_server, to_client, number, rules.clone()) => {}
        }
    };
    tokio::select! {
        () = closed => {}
        () = passing => {}
    }
}

/// Reads until the client closes.
async fn swallow(mut client: TcpStream) {
    let mut buffer = vec![0; CHUNK];
    while client.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// Carries one direction.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    number: u64,
    rules: watch::Receiver<Rules>,
) {
    let (sender, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let read = async move {
        let mut buffer = vec![0; CHUNK];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let rules = *rules.borrow();
            if number < rules.dead_below {
                continue;
            }
            let delay = match rules.mode {
                Mode::Slow(delay) => delay,
                _ => Duration::ZERO,
            };
            let chunk = (Instant::now() + delay, buffer[..length].to_vec());
            if sender.send(chunk).await.is_err() {
                return;
            }
        }
    };
    let write = async {
        while let Some((due, bytes)) = under_way.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    // Bytes that were read before the end are still written: `read` has dropped the sender by then.
    let read = async {
        read.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
}
