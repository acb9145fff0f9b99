//! Reading the body of a request, within bounds of size and time.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http_body_util::BodyDataStream;
use keyward_core::store::BoxError;
use tokio::time::{Instant, timeout};
use warp::Filter;
use warp::http::HeaderMap;
use warp::http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};

use super::by;
use super::problem::{Kind, Problem};

/// How much of a body nobody wants is read and thrown away, so that a client which is still sending
/// sees the answer and not a reset connection.
const DRAINED_BYTES: usize = 256 * 1024;
/// For how long that is done.
const DRAINED_FOR: Duration = Duration::from_secs(1);

/// The body of a request, not yet read.
pub struct Body {
    begun: bool,
    chunks: Pin<Box<dyn Stream<Item = Option<Bytes>> + Send + Sync>>,
}

/// Bounds of a body.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Most bytes.
    pub bytes: usize,
    /// The moment by which all of it must be there.
    pub deadline: Instant,
}

/// Extracts the body without reading it: `content_length_limit` of the framework trusts the header,
/// and its `bytes` has no bound.
pub fn body() -> impl Filter<Extract = (Body,), Error = warp::Rejection> + Copy {
    warp::body::stream().map(Body::new)
}

impl Body {
    /// The body of a request that came by no route.
    pub fn of<B>(content: B) -> Self
    where
        B: hyper::body::Body<Error: Into<BoxError>> + Send + Sync + 'static,
    {
        Self::new(BodyDataStream::new(content))
    }

    fn new<B, E>(chunks: impl Stream<Item = Result<B, E>> + Send + Sync + 'static) -> Self
    where
        B: Buf,
    {
        let bytes = |mut chunk: B| chunk.copy_to_bytes(chunk.remaining());
        Self { begun: false, chunks: Box::pin(chunks.map(move |chunk| chunk.ok().map(bytes))) }
    }

    /// Reads the whole body of a request that must carry JSON.
    ///
    /// Size is judged before the media type, whether it is declared or only shows as it comes.
    pub async fn read_json(
        &mut self,
        headers: &HeaderMap,
        limits: BodyLimits,
    ) -> Result<Bytes, Problem> {
        let bytes =
            by(|| limits.deadline, self.read(headers, limits.bytes)).await.map_err(|_| {
                Problem::new(Kind::BodyTimeout, "the whole request must arrive within its deadline")
            })??;
        if is_json(headers) {
            return Ok(bytes);
        }
        Err(Problem::new(Kind::UnsupportedMediaType, "send Content-Type: application/json"))
    }

    async fn read(&mut self, headers: &HeaderMap, limit: usize) -> Result<Bytes, Problem> {
        let too_large = || Problem::new(Kind::BodyTooLarge, format!("the limit is {limit} bytes"));
        if declared_length(headers).is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }
        // Most bodies come in one piece, which is taken as it is.
        let Some(first) = self.next().await? else { return Ok(Bytes::new()) };
        if first.len() > limit {
            return Err(too_large());
        }
        let Some(mut next) = self.next().await? else { return Ok(first) };
        let mut whole = BytesMut::from(first);
        loop {
            if whole.len() + next.len() > limit {
                return Err(too_large());
            }
            whole.extend_from_slice(&next);
            match self.next().await? {
                Some(chunk) => next = chunk,
                None => return Ok(whole.freeze()),
            }
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        self.begun = true;
        match self.chunks.next().await {
            None => Ok(None),
            Some(Some(chunk)) => Ok(Some(chunk)),
            Some(None) => Err(Problem::new(Kind::InvalidBody, "the body broke off before its end")),
        }
    }

    /// Gives back what came of a request whose body this is. Where that is a problem, what is left of
    /// the body is drained first.
    pub async fn done<T>(
        self,
        headers: &HeaderMap,
        outcome: Result<T, Problem>,
    ) -> Result<T, Problem> {
        if outcome.is_err() {
            self.drain(headers).await;
        }
        outcome
    }

    /// Reads some of what is left, for a while, and throws it away. A client that waits to be asked
    /// for the body (`Expect: 100-continue`) is not asked for what nobody wants.
    async fn drain(mut self, headers: &HeaderMap) {
        if !self.begun && headers.contains_key(EXPECT) {
            return;
        }
        let some = async {
            let mut left = DRAINED_BYTES;
            while let Some(Some(chunk)) = self.chunks.next().await {
                match left.checked_sub(chunk.len()) {
                    Some(less) => left = less,
                    None => return,
                }
            }
        };
        // Whether the end was reached does not matter: the answer follows either way.
        let _ = timeout(DRAINED_FOR, some).await;
    }
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// `application/json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|value| value.split(';').next()).map(str::trim);
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"))
}
