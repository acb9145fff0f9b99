//! The front of every request: what holds whatever the route. Request ids, the bound on headers,
//! problems written out, panics caught, one line in the log for each management call.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use keyward_core::audit::Origin;
use keyward_core::clock::{Entropy, EntropyError};
use keyward_core::secret::KeyFormat;
use keyward_core::store::BoxError;
use tokio::time::Instant;
use tower::Service as _;
use warp::filters::BoxedFilter;
use warp::http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};
use warp::http::{Method, Request};
use warp::hyper::body::Body;
use warp::reply::Response;

use super::metrics::Endpoint;
use super::origin::TrustedProxies;
use super::problem::{Kind, Problem};
use super::{App, Named, routes};

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How a JWT begins: with an object, whose first member is in quotation marks (`{"`).
const JWT: &str = "eyJ";
/// Longest request id that is kept when a client sends one.
const MAX_REQUEST_ID: usize = 128;

/// Answers requests.
pub struct Front {
    app: Arc<App>,
    routes: BoxedFilter<(Response,)>,
    ids: RequestIds,
    format: KeyFormat,
    proxies: TrustedProxies,
}

impl Front {
    /// The front of `app`, whose keys are of `format`.
    ///
    /// # Errors
    ///
    /// When there is no randomness to begin request ids with.
    pub fn new(
        app: Arc<App>,
        format: KeyFormat,
        proxies: TrustedProxies,
        entropy: &dyn Entropy,
    ) -> Result<Self, EntropyError> {
        let routes = routes(&app);
        Ok(Self { app, routes, ids: RequestIds::new(entropy)?, format, proxies })
    }

    /// The front, as a connection from `peer` meets it.
    pub fn meet(self: &Arc<Self>, peer: SocketAddr) -> Conversation {
        Conversation { front: Arc::clone(self), peer, ids: AtomicU64::new(0) }
    }

    /// Has the request answered, by one of the two endpoints that verify keys or by the routes.
    ///
    /// The two are asked before each request of somebody's API, so they judge it where it stands. Going
    /// through the routes copies a request's headers and walks from filter to filter (ARCHITECTURE.md
    /// says what that costs).
    async fn respond<B>(
        &self,
        mut request: Request<B>,
        endpoint: Option<Endpoint>,
        conversation: &Conversation,
        id: &HeaderValue,
    ) -> Response
    where
        B: Body<Error: Into<BoxError>> + Send + Sync + 'static,
    {
        if self.app.limits.headers < size(&request) {
            let detail = format!("the limit is {} bytes", self.app.limits.headers);
            return told(&Problem::new(Kind::HeadersTooLarge, detail), id);
        }
        if let Some(endpoint) = endpoint {
            let answered = endpoint.answer(&self.app, request).await;
            return answered.unwrap_or_else(|problem| told(&problem, id));
        }
        // For what is recorded of a change, and for what is still to be logged when the answer is on its
        // way.
        if request.method() != Method::GET {
            let origin = self.origin(conversation.peer, request.headers(), id);
            request.extensions_mut().insert(origin);
        }
        request.headers_mut().insert(X_REQUEST_ID, id.clone());
        let mut response = match warp::service(self.routes.clone()).call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if let Some(problem) = response.extensions_mut().remove::<Arc<Problem>>() {
            let name = response.extensions().get::<Named>().copied();
            response = told(&problem, id);
            name.map(|name| response.extensions_mut().insert(name));
        }
        response
    }

    /// Where the request came from. What a client says of itself is left out where it may hold a key.
    fn origin(&self, peer: SocketAddr, headers: &HeaderMap, id: &HeaderValue) -> Origin {
        let mut origin = self.proxies.origin(peer, headers, text(id));
        let may_be_secret = |it: &str| self.format.may_be_in(it) || it.contains(JWT);
        origin.user_agent = origin.user_agent.filter(|it| !may_be_secret(it));
        origin
    }

    /// The client's own id where it is well formed and cannot be a key.
    fn own_id(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let own = headers.get(X_REQUEST_ID)?;
        let text = own.to_str().ok()?;
        (is_request_id(text) && !self.format.may_be_in(text)).then(|| own.clone())
    }
}

/// The front, as one connection meets it: its requests come one after the other. What they touch is
/// its own as far as can be, because cores wait for each other where they count in the same place.
pub struct Conversation {
    front: Arc<Front>,
    peer: SocketAddr,
    /// The next request id. Where it begins a block, that block is still to be drawn.
    ids: AtomicU64,
}

impl Conversation {
    /// Answers one request.
    pub async fn answer<B>(&self, request: Request<B>) -> Response
    where
        B: Body<Error: Into<BoxError>> + Send + Sync + 'static,
    {
        let front = &*self.front;
        let endpoint = Endpoint::at(request.uri().path());
        // Verifications have no line in the log.
        let began = endpoint.is_none().then(Instant::now);
        let id = front.own_id(request.headers()).unwrap_or_else(|| front.ids.next(&self.ids));
        let responding = front.respond(request, endpoint, self, &id);
        let mut response = match AssertUnwindSafe(responding).catch_unwind().await {
            Ok(response) => response,
            Err(_) => told(&Problem::internal("a handler panicked"), &id),
        };
        if let Some(Named(call)) = response.extensions().get() {
            let status = response.status().as_u16();
            let took = began.map_or(Duration::ZERO, |it| it.elapsed());
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            let peer = self.peer;
            tracing::info!(request_id = text(&id), call, status, micros, %peer, "answered");
        }
        front.app.metrics.answered(response.status());
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_REQUEST_ID, id);
        response
    }
}

/// A request id as text.
pub fn text(id: &HeaderValue) -> &str {
    id.to_str().unwrap_or_default()
}

fn is_request_id(id: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(allowed)
}

/// Bytes of the request's target and of all header names and values.
fn size<B>(request: &Request<B>) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let headers = request.headers().iter();
    target + headers.map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
}

/// The answer that tells the client of a problem, which the log is told too.
fn told(problem: &Problem, id: &HeaderValue) -> Response {
    log_problem(problem, text(id));
    problem.answer(text(id))
}

/// A fault of ours is an error, a fault around us a warning, a fault of the client's its own matter.
fn log_problem(problem: &Problem, request_id: &str) {
    let causes = problem.causes().unwrap_or_default();
    match problem.kind {
        Kind::Internal => tracing::error!(request_id, causes, "{problem}"),
        Kind::Unavailable => tracing::warn!(request_id, causes, "{problem}"),
        _ => tracing::debug!(request_id, "{problem}"),
    }
}

/// Makes request ids: a random beginning that tells processes apart, and a counter.
struct RequestIds {
    /// The random beginning, and the hyphen behind it.
    process: [u8; PROCESS_LEN],
    /// The block that is drawn next.
    block: AtomicU64,
}

/// Twelve hexadecimal digits and a hyphen.
const PROCESS_LEN: usize = 13;
/// Decimal digits of a counter at most.
const COUNT_LEN: usize = 20;
/// Ids that a connection draws at once, so that connections do not meet at each request.
const BLOCK: u64 = 256;

impl RequestIds {
    fn new(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut random = [0; 6];
        entropy.fill(&mut random)?;
        let mut process = [b'-'; PROCESS_LEN];
        for (place, byte) in process.chunks_exact_mut(2).zip(random) {
            place[0] = HEX[usize::from(byte >> 4)];
            place[1] = HEX[usize::from(byte & 15)];
        }
        Ok(Self { process, block: AtomicU64::new(0) })
    }

    /// The next id of the connection whose place in its block this is.
    fn next(&self, place: &AtomicU64) -> HeaderValue {
        // Its requests come one after the other, so that nobody else writes in between.
        let mut count = place.load(Ordering::Relaxed);
        if count.is_multiple_of(BLOCK) {
            count = self.block.fetch_add(BLOCK, Ordering::Relaxed) + 1;
        }
        place.store(count + 1, Ordering::Relaxed);
        let mut id = [0; PROCESS_LEN + COUNT_LEN];
        id[..PROCESS_LEN].copy_from_slice(&self.process);
        let digits = count.checked_ilog10().map_or(1, |it| it as usize + 1);
        let end = PROCESS_LEN + digits;
        for digit in id[PROCESS_LEN..end].iter_mut().rev() {
            *digit = b'0' + (count % 10) as u8;
            count /= 10;
        }
        HeaderValue::from_bytes(&id[..end]).unwrap_or(HeaderValue::from_static("-"))
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";
