//! A toy HTTP server, for what stands around Keyward: an upstream, an identity provider.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Answers every request with the same JSON text, keeps their heads, and ends with this value.
#[derive(Debug)]
pub struct Toy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    answer: Mutex<String>,
    heads: Mutex<Vec<String>>,
}

impl Toy {
    /// Starts on a free port.
    pub async fn start(answer: impl Into<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared::default());
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        let toy = Self { address, shared, accepting };
        toy.answer_with(answer);
        toy
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers with this text from now on.
    pub fn answer_with(&self, answer: impl Into<String>) {
        *self.shared.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer.into();
    }

    /// The heads (request line and headers) of the requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Toy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(respond(stream, Arc::clone(&shared)));
    }
}

/// Takes one request, answers it and closes.
async fn respond(mut stream: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    // What is left unread when a connection is closed would have it reset.
    let mut body = vec![0; content_length(&head)];
    stream.read_exact(&mut body).await?;

    let answer = shared.answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
    shared.heads.lock().unwrap_or_else(PoisonError::into_inner).push(head);
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{answer}",
        answer.len()
    );
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

fn content_length(head: &str) -> usize {
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

/// The URL of a server that gives every request exactly this answer, whatever it is, and then closes
/// the connection.
pub async fn answering(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let _ = client.read(&mut [0; 4096]).await;
            let _ = client.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}")
}
