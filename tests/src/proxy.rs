//! A TCP proxy that cuts connections when it is told to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::tokens;

/// Where bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What the client asks.
    ToServer,
    /// What the server answers.
    ToClient,
}

/// Passes bytes between clients and a server.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    wires: Arc<Wires>,
}

#[derive(Debug)]
struct Wires {
    server: Mutex<SocketAddr>,
    /// Bytes that may still pass, over all connections.
    to_server: AtomicI64,
    to_client: AtomicI64,
    /// Connections end when this changes.
    generation: watch::Sender<u64>,
    /// In these directions connections stay open and nothing passes.
    held: watch::Sender<&'static [Direction]>,
    /// The longest time, in milliseconds, by which anything is late.
    late: AtomicU64,
}

impl Proxy {
    /// A proxy of the server at this address, which lets everything pass.
    pub async fn of(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let wires = Arc::new(Wires {
            server: Mutex::new(server),
            to_server: AtomicI64::new(i64::MAX),
            to_client: AtomicI64::new(i64::MAX),
            generation: watch::Sender::new(0),
            held: watch::Sender::new(&[]),
            late: AtomicU64::new(0),
        });
        let inside = Arc::clone(&wires);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let wires = Arc::clone(&inside);
                tokio::spawn(async move { Box::pin(wires.connect(client)).await });
            }
        });
        Self { address, wires }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets `bytes` more pass in this direction, and then cuts every connection that sends more, until
    /// [`Proxy::mend`].
    pub fn cut_after(&self, direction: Direction, bytes: i64) {
        self.wires.left(direction).store(bytes, Ordering::SeqCst);
    }

    /// Cuts every connection on which anything is sent, until [`Proxy::mend`].
    pub fn cut(&self) {
        for direction in [Direction::ToServer, Direction::ToClient] {
            self.cut_after(direction, 0);
        }
    }

    /// Lets no byte pass until [`Proxy::mend`], and then all that were sent meanwhile.
    pub fn hold(&self) {
        self.wires.held.send_replace(&[Direction::ToServer, Direction::ToClient]);
    }

    /// Lets the server hear everything, and nobody hear the server until [`Proxy::mend`].
    pub fn hold_answers(&self) {
        self.wires.held.send_replace(&[Direction::ToClient]);
    }

    /// Has everything be late by some time up to this, each connection by another one each time, so
    /// that what one is asked first is not what is answered first.
    pub fn make_late(&self, longest: Duration) {
        let longest = u64::try_from(longest.as_millis()).expect("nobody waits that long");
        self.wires.late.store(longest, Ordering::SeqCst);
    }

    /// Lets everything pass again, in time.
    pub fn mend(&self) {
        self.wires.held.send_replace(&[]);
        self.make_late(Duration::ZERO);
        for direction in [Direction::ToServer, Direction::ToClient] {
            self.wires.left(direction).store(i64::MAX, Ordering::SeqCst);
        }
    }

    /// Leads new connections to another server, and cuts those that there are.
    pub fn turn_to(&self, server: SocketAddr) {
        *self.wires.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
        self.wires.generation.send_modify(|generation| *generation += 1);
    }
}

impl Wires {
    fn left(&self, direction: Direction) -> &AtomicI64 {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }

    async fn connect(&self, mut client: TcpStream) {
        let mut generation = self.generation.subscribe();
        let address = *self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(mut server) = TcpStream::connect(address).await else { return };
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        // Whichever ends first ends the other.
        tokio::select! {
            () = self.pump(from_client, to_server, Direction::ToServer) => {}
            () = self.pump(from_server, to_client, Direction::ToClient) => {}
            _ = generation.changed() => {}
        }
    }

    async fn pump(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        direction: Direction,
    ) {
        let mut held = self.held.subscribe();
        let mut bytes = [0; 1 << 14];
        while let Ok(length @ 1..) = from.read(&mut bytes).await {
            let late = self.late.load(Ordering::SeqCst);
            if late > 0 {
                let random = u64::from(u16::from_le_bytes(tokens::random()));
                sleep(Duration::from_millis(random % late)).await;
            }
            if held.wait_for(|held| !held.contains(&direction)).await.is_err() {
                return;
            }
            let wanted = i64::try_from(length).expect("a buffer is not that long");
            let passing = self.left(direction).fetch_sub(wanted, Ordering::SeqCst).clamp(0, wanted);
            let passing = usize::try_from(passing).expect("it is no less than nothing");
            if to.write_all(&bytes[..passing]).await.is_err() || passing < length {
                return;
            }
        }
    }
}
