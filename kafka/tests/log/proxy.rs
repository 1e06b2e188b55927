//! A proxy in front of a broker that can be made to swallow everything, as a broken network does.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

pub struct Proxy {
    pub address: String,
    frozen: Arc<AtomicBool>,
}

impl Proxy {
    /// Listens in front of `broker` (`host:port`, the address the broker advertises).
    pub fn new(broker: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let frozen = Arc::new(AtomicBool::new(false));
        let (broker, flag) = (broker.to_owned(), frozen.clone());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&broker) else {
                    continue;
                };
                let (client2, server2) = (client.try_clone().expect("clone"), server.try_clone().expect("clone"));
                let advertised = Address::of(&broker);
                let (flag1, flag2) = (flag.clone(), flag.clone());
                thread::spawn(move || forward(client, server, &flag1, |_| {}));
                thread::spawn(move || forward(server2, client2, &flag2, |frame| advertised.rewrite(frame, port)));
            }
        });
        Self {
            address: format!("127.0.0.1:{port}"),
            frozen,
        }
    }

    /// From now on nothing passes; connections stay open.
    pub fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
    }
}

/// Forwards frames (a length of four bytes, then that many bytes) until an end closes.
fn forward(mut from: TcpStream, mut to: TcpStream, frozen: &AtomicBool, change: impl Fn(&mut [u8])) {
    let mut pass = || -> std::io::Result<()> {
        let mut frame = vec![0; 4];
        from.read_exact(&mut frame)?;
        let len = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
        frame.resize(4 + len, 0);
        from.read_exact(&mut frame[4..])?;
        change(&mut frame[4..]);
        if frozen.load(Ordering::SeqCst) {
            return Ok(());
        }
        to.write_all(&frame)
    };
    while pass().is_ok() {}
    let _ = to.shutdown(Shutdown::Both);
}

/// A broker's address as it stands in its answers: the host's name, then the port in four bytes.
struct Address(Vec<u8>);

impl Address {
    fn of(broker: &str) -> Self {
        let (host, port) = broker.rsplit_once(':').expect("host:port");
        let port: u32 = port.parse().expect("a port");
        Self([host.as_bytes(), &port.to_be_bytes()].concat())
    }

    fn rewrite(&self, frame: &mut [u8], port: u16) {
        let len = self.0.len();
        for start in 0..frame.len().saturating_sub(len - 1) {
            if frame[start..start + len] == self.0 {
                frame[start + len - 4..start + len].copy_from_slice(&u32::from(port).to_be_bytes());
            }
        }
    }
}
