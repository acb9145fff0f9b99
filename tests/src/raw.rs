//! A connection to write bytes to that no client library would send.

use std::net::SocketAddr;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::Answer;
use crate::wait::soon;

/// One connection.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    /// Read, and not yet part of an answer.
    pending: Vec<u8>,
}

impl Raw {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = soon(TcpStream::connect(address)).await.expect("the server listens");
        stream.set_nodelay(true).expect("a connected socket takes options");
        Self { stream, pending: Vec::new() }
    }

    /// Sends bytes as they are. The server may have closed the connection already; then what it
    /// answered before tells.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = soon(self.stream.write_all(bytes.as_ref())).await;
        self
    }

    /// Sends bytes and says whether the connection took them.
    pub async fn try_send(&mut self, bytes: &[u8]) -> bool {
        soon(self.stream.write_all(bytes)).await.is_ok()
    }

    /// Says that nothing more will be sent.
    pub async fn end(&mut self) -> &mut Self {
        let _ = self.stream.shutdown().await;
        self
    }

    /// Has the connection be reset when this value goes, instead of ended in good order.
    pub fn reset_on_close(&self) {
        self.stream.set_zero_linger().expect("a connected socket takes options");
    }

    /// Reads one answer. It must come.
    pub async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("the server answers")
    }

    /// Reads one answer, or `None` where the connection ends without one.
    pub async fn try_answer(&mut self) -> Option<Answer> {
        soon(async {
            let (mut status, mut headers) = self.read_head().await?;
            // Not an answer yet, only a word on the way to it.
            while status < 200 {
                (status, headers) = self.read_head().await?;
            }
            let body = self.read_body(status, &headers).await?;
            Some(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
        })
        .await
    }

    /// Reads until the server closes the connection, and returns what it still sent.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.pending);
        // A reset ends the connection as well.
        let _ = soon(self.stream.read_to_end(&mut rest)).await;
        rest
    }

    async fn read_head(&mut self) -> Option<(u16, HeaderMap)> {
        let head = self.read_until(b"\r\n\r\n").await?;
        Some(parse_head(&String::from_utf8_lossy(&head)))
    }

    async fn read_body(&mut self, status: u16, headers: &HeaderMap) -> Option<Vec<u8>> {
        let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if status == 204 || status == 304 {
            return Some(Vec::new());
        }
        if let Some(length) = value("content-length") {
            return self.read_exactly(length.parse().ok()?).await;
        }
        if value("transfer-encoding") == Some("chunked") {
            return self.read_chunks().await;
        }
        Some(self.read_to_end().await)
    }

    async fn read_chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.read_until(b"\r\n").await?).ok()?;
            let length = usize::from_str_radix(line.trim(), 16).ok()?;
            body.extend(self.read_exactly(length).await?);
            self.read_exactly(2).await?;
            if length == 0 {
                return Some(body);
            }
        }
    }

    async fn read_until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.pending.windows(end.len()).position(|window| window == end) {
                return Some(self.pending.drain(..at + end.len()).collect());
            }
            self.read_more().await?;
        }
    }

    async fn read_exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.pending.len() < length {
            self.read_more().await?;
        }
        Some(self.pending.drain(..length).collect())
    }

    async fn read_more(&mut self) -> Option<()> {
        match self.stream.read_buf(&mut self.pending).await {
            Ok(1..) => Some(()),
            Ok(0) | Err(_) => None,
        }
    }
}

fn parse_head(head: &str) -> (u16, HeaderMap) {
    let mut lines = head.lines();
    let status_line = lines.next().unwrap_or_default();
    let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let status = status.and_then(|digits| digits.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("the name is a token");
        (name, HeaderValue::from_str(value).expect("the value is text"))
    });
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name, value);
    }
    (status.unwrap_or_else(|| panic!("no status line: {status_line:?}")), map)
}
