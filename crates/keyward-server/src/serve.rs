//! Sockets: accepting, the bounds of a connection, and stopping.
//!
//! The accept loop is our own because the framework's has neither a deadline for headers nor a bound
//! on connections.

mod header_timer;

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

use self::header_timer::HeaderTimer;
use crate::http::{App, Front};

/// Connections that wait in the kernel to be accepted.
const BACKLOG: u32 = 4096;
/// Files that the process needs beside its connections, most of them the storage's.
const OTHER_FILES: u64 = 1024;
/// How long to wait when the system has no room for another connection.
const NO_ROOM: Duration = Duration::from_millis(100);

/// A socket that listens but does not accept yet.
pub struct Listener {
    socket: TcpListener,
}

impl Listener {
    /// Listens on `address`.
    pub fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let listen = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        };
        let socket = listen().with_context(|| format!("cannot listen on {address}"))?;
        Ok(Self { socket })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// What it takes to serve connections, at most `connections` at a time.
    pub fn serve(
        self,
        front: Arc<Front>,
        app: &Arc<App>,
        header_timeout: Duration,
        connections: usize,
    ) -> Serving {
        let mut http = http1::Builder::new();
        http.header_read_timeout(header_timeout);
        // Beyond the bound on headers the front answers; far beyond it nothing is read any more and
        // the connection's own bare 431 must do.
        http.max_buf_size(app.limits.headers.saturating_mul(2).max(MIN_BUFFER));
        let room = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
        Serving {
            socket: self.socket,
            connections: Connections {
                http,
                front,
                app: Arc::clone(app),
                write_timeout: app.limits.time,
                graceful: GracefulShutdown::new(),
                room,
            },
            drain: app.limits.time,
        }
    }
}

/// The smallest buffer that the connection accepts.
const MIN_BUFFER: usize = 8192;

/// A server that is about to accept.
pub struct Serving {
    socket: TcpListener,
    connections: Connections,
    drain: Duration,
}

struct Connections {
    http: http1::Builder,
    front: Arc<Front>,
    app: Arc<App>,
    write_timeout: Duration,
    graceful: GracefulShutdown,
    room: Arc<Semaphore>,
}

impl Serving {
    /// Accepts until `stop` comes, then lets what is under way finish, within the deadline of a
    /// request.
    pub async fn until(self, stop: impl Future<Output = &'static str>) {
        let Self { socket, connections, drain } = self;
        tokio::select! {
            signal = stop => tracing::info!(signal, "stopping"),
            never = connections.accept(&socket) => match never {},
        }
        drop(socket);
        if tokio::time::timeout(drain, connections.graceful.shutdown()).await.is_err() {
            tracing::warn!("some requests did not finish in time and were cut off");
        }
    }
}

impl Connections {
    async fn accept(&self, socket: &TcpListener) -> Infallible {
        loop {
            // The place comes first: a connection that finds none waits in the kernel.
            let Ok(place) = Arc::clone(&self.room).acquire_owned().await else { continue };
            match socket.accept().await {
                Ok((stream, peer)) => self.spawn(stream, peer, place),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(NO_ROOM).await;
                }
            }
        }
    }

    fn spawn(&self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        // Answers are small and whole; waiting to fill a segment would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection went away at once");
            return;
        }
        let conversation = Arc::new(self.front.meet(peer));
        let service = service_fn(move |request| {
            let conversation = Arc::clone(&conversation);
            async move { Ok::<_, Infallible>(conversation.answer(request).await) }
        });
        let stream = Written { stream, by: self.write_timeout, stalled: None };
        let mut http = self.http.clone();
        let connection =
            http.timer(HeaderTimer::default()).serve_connection(TokioIo::new(stream), service);
        let connection = self.graceful.watch(connection);
        let open = self.app.metrics.connections.clone();
        open.increment(1.0);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            open.decrement(1.0);
            drop(place);
        });
    }
}

/// A connection that ends when its peer takes nothing of what it is sent for too long: there is no
/// other deadline on an answer that is on its way.
struct Written {
    stream: TcpStream,
    by: Duration,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Written {
    fn judge(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let by = self.by;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(by)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Written {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        // An answer without a body is one part, and the kernel is quicker with what is.
        let written = match parts {
            [part] => stream.poll_write(cx, part),
            _ => stream.poll_write_vectored(cx, parts),
        };
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Written {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

/// Waits for SIGTERM or SIGINT. The handlers are in place when this returns.
pub fn stop_signal() -> anyhow::Result<impl Future<Output = &'static str>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

/// Raises the limit of open files to fit this many connections, and says how many fit.
pub fn raise_file_limit(connections: usize) -> anyhow::Result<usize> {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHER_FILES);
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted.min(most)), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).context("cannot raise the limit of open files")?;
    }
    if most >= wanted {
        return Ok(connections);
    }
    let fit = usize::try_from(most - OTHER_FILES.min(most / 2)).unwrap_or(usize::MAX).max(1);
    tracing::warn!(
        connections,
        fit,
        "the system's limit of open files ({most}) leaves room for fewer connections"
    );
    Ok(fit)
}
