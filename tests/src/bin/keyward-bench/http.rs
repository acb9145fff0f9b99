//! As much HTTP/1.1 as it takes to load a server: requests written beforehand, answers with a
//! length or in chunks, one at a time on a kept connection. A full client would spend more on a
//! request than the server under test.

mod chunked;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::chunked::Chunks;

/// More than any answer with a length that is measured.
const MAX_ANSWER: usize = 64 * 1024;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// A kept connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer, complete.
#[derive(Debug)]
pub struct Answer<'a> {
    pub status: u16,
    /// Status line and headers, without the empty line that ends them.
    pub head: &'a str,
    pub body: &'a [u8],
    /// Everything that came over the wire for this answer.
    pub wire_len: usize,
}

/// An answer in chunks, of which nothing was kept but this.
#[derive(Debug)]
pub struct Streamed {
    pub status: u16,
    /// When the first byte of the body had come, after the request.
    pub first_byte: Duration,
    pub wire_len: usize,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("connecting to the server")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; MAX_ANSWER] })
    }

    /// Sends one request and waits for the whole answer.
    pub async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Answer<'_>> {
        self.stream.write_all(request).await.context("sending a request")?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                bail!("the connection ended before an answer of at most {MAX_ANSWER} bytes did");
            }
            filled += read;
            if let Some(lengths) = Lengths::of(&self.buffer[..filled])? {
                let wire_len = lengths.head + END_OF_HEAD.len() + lengths.body;
                if filled > wire_len {
                    bail!("the server sent more than it was asked for");
                }
                if filled == wire_len {
                    return self.answer(&lengths, wire_len);
                }
            }
        }
    }

    /// Sends one request and gives the body of the answer, as it comes, to `sink`.
    pub async fn stream(
        &mut self,
        request: &[u8],
        mut sink: impl FnMut(&[u8]),
    ) -> anyhow::Result<Streamed> {
        let asked = Instant::now();
        self.stream.write_all(request).await.context("sending a request")?;
        let (mut wire_len, mut status_code) = (0, None);
        let (mut chunks, mut first_byte) = (Chunks::default(), None);
        // What comes first is the whole head: it is short, and sent in one piece.
        loop {
            let read = self.stream.read(&mut self.buffer).await?;
            if read == 0 {
                bail!("the connection ended before the last chunk came");
            }
            wire_len += read;
            let mut come = &self.buffer[..read];
            if status_code.is_none() {
                let ends = |window: &[u8]| window == END_OF_HEAD;
                let end = come.windows(END_OF_HEAD.len()).position(ends).context("half a head")?;
                status_code = Some(status(str::from_utf8(&come[..end])?)?);
                come = &come[end + END_OF_HEAD.len()..];
            }
            if !come.is_empty() {
                first_byte.get_or_insert_with(|| asked.elapsed());
            }
            if chunks.take(come, &mut sink)? {
                break;
            }
        }
        let status = status_code.context("an answer without a head")?;
        let first_byte = first_byte.context("an answer without a body")?;
        Ok(Streamed { status, first_byte, wire_len })
    }

    fn answer(&self, lengths: &Lengths, wire_len: usize) -> anyhow::Result<Answer<'_>> {
        let head = str::from_utf8(&self.buffer[..lengths.head])?;
        let body = &self.buffer[wire_len - lengths.body..wire_len];
        Ok(Answer { status: status(head)?, head, body, wire_len })
    }
}

impl<'a> Answer<'a> {
    /// The headers in the order in which they came.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        headers(self.head)
    }
}

/// Where the parts of an answer end.
#[derive(Debug, PartialEq, Eq)]
struct Lengths {
    head: usize,
    body: usize,
}

impl Lengths {
    /// `None` while the head is not complete.
    fn of(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        let ends = |window: &[u8]| window == END_OF_HEAD;
        let Some(head) = bytes.windows(END_OF_HEAD.len()).position(ends) else {
            return Ok(None);
        };
        let length = headers(str::from_utf8(&bytes[..head])?)
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .context("an answer without a length")?;
        Ok(Some(Self { head, body: length.1.parse().context("reading the length of an answer")? }))
    }
}

fn headers(head: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = head.split("\r\n").skip(1);
    lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim()))
}

fn status(head: &str) -> anyhow::Result<u16> {
    let code = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    code.context("an answer that is not HTTP/1.1")?.parse().context("reading a status")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "HTTP/1.1 401 Unauthorized\r\nA: b:c\r\nContent-Length: 5\r\n\r\nhello";

    #[test]
    fn an_answer_is_read_to_its_length_and_not_before_its_head_is_whole() {
        let head = ANSWER.find("\r\n\r\n").unwrap();
        for cut in 0..head + 4 {
            assert_eq!(Lengths::of(&ANSWER.as_bytes()[..cut]).unwrap(), None);
        }
        assert_eq!(Lengths::of(ANSWER.as_bytes()).unwrap(), Some(Lengths { head, body: 5 }));
        assert_eq!(status(ANSWER).unwrap(), 401);
        let read: Vec<_> = headers(&ANSWER[..head]).collect();
        assert_eq!(read, [("A", "b:c"), ("Content-Length", "5")]);
    }

    #[test]
    fn an_answer_without_a_length_or_status_is_refused() {
        assert!(Lengths::of(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(status("HTTP/1.0 200 OK").is_err());
        assert!(status("HTTP/1.1 ok").is_err());
    }
}
