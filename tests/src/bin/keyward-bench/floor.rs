//! The floor: a bare warp route that answers the bytes of a real answer and does no work for them.
//!
//! It is a process of its own, so that its CPU time can be told apart, on the runtime that the real
//! server uses too (multi-threaded tokio, one worker for each core).

use std::convert::Infallible;
use std::io::Read as _;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use warp::Filter as _;
use warp::http::header::{CONTENT_LENGTH, DATE};
use warp::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use warp::hyper::body::Bytes;

use crate::http::Answer;
use crate::questions::Question;

/// The answer to give, as it is told to the process on standard input: one line of JSON.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    reads_body: bool,
    /// Whether the body is sent in chunks.
    streams: bool,
}

impl Template {
    /// The template that repeats `answer`, without the headers that hyper writes of its own accord.
    pub fn new(answer: &Answer<'_>, question: &Question) -> anyhow::Result<Self> {
        let headers = answer
            .headers()
            // Names are compared and sent in lower case, as hyper writes them.
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .filter(|(name, _)| DATE != name.as_str() && CONTENT_LENGTH != name.as_str())
            .collect();
        let body = str::from_utf8(answer.body).context("the body of an answer is not text")?;
        let reads_body = question.floor_reads_body;
        let (status, streams) = (answer.status, false);
        Ok(Self { status, headers, body: body.to_owned(), reads_body, streams })
    }

    /// The template that sends the same list from memory.
    pub fn of_list(list: String) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { status: 200, headers, body: list, reads_body: false, streams: true }
    }

    /// Whether `answer` is this template filled in: what the floor answers must be what the real
    /// server answered.
    pub fn check(&self, answer: &Answer<'_>, question: &Question) -> anyhow::Result<()> {
        let given = Self::new(answer, question)?;
        if *self != given {
            bail!("the floor answers {given:?} instead of {self:?}");
        }
        Ok(())
    }

    /// The answer made ready. Its parts live as long as the process, like the constants that a
    /// bare route would be written with: parts that are counted would have all threads wait for
    /// each other's counts.
    fn reply(&self) -> anyhow::Result<Reply> {
        let mut headers = HeaderMap::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse()?;
            let name = HeaderName::from_static(name.to_string().leak());
            let value: HeaderValue = value.parse()?;
            let value = HeaderValue::from_static(value.to_str()?.to_owned().leak());
            headers.append(name, value);
        }
        let status = StatusCode::from_u16(self.status)?;
        let body = Bytes::from_static(self.body.clone().leak().as_bytes());
        Ok(Reply { status, headers, body })
    }
}

/// An answer made ready: giving it copies the map of headers and nothing else.
#[derive(Clone)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn give(&self) -> Response<Bytes> {
        let mut response = Response::new(self.body.clone());
        *response.status_mut() = self.status;
        response.headers_mut().clone_from(&self.headers);
        response
    }
}

/// A body that is sent piece by piece.
struct Pieces(Bytes);

/// Of a piece: about what the real server sends at a time.
const PIECE: usize = 80 * 1024;

impl warp::Stream for Pieces {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let length = self.0.len().min(PIECE);
        let piece = self.0.split_to(length);
        Poll::Ready((!piece.is_empty()).then_some(Ok(piece)))
    }
}

/// Serves until standard input ends, which it does when the bench that started this process is
/// gone, however it went.
pub fn serve() -> anyhow::Result<()> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("reading the template")?;
    let template: Template = serde_json::from_str(&line).context("reading the template")?;
    let reply = template.reply()?;
    std::thread::spawn(|| {
        let ended = std::io::stdin().read(&mut [0]);
        std::process::exit(i32::from(ended.is_err()));
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("the floor is listening on http://{}", listener.local_addr()?);
        if template.streams {
            let route = warp::any().map(move || warp::reply::stream(Pieces(reply.body.clone())));
            warp::serve(route).incoming(listener).run().await;
        } else if template.reads_body {
            let route = warp::body::bytes().map(move |_: Bytes| reply.give());
            warp::serve(route).incoming(listener).run().await;
        } else {
            let route = warp::any().map(move || reply.give());
            warp::serve(route).incoming(listener).run().await;
        }
        Ok(())
    })
}
