//! The front of every request: what holds whatever the route. Request ids, the bound on headers,
//! problems written out, panics caught, one line in the log for each management call.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::FutureExt as _;
use keyward_core::audit::Origin;
use keyward_core::clock::{Entropy, EntropyError};
use keyward_core::secret::KeyFormat;
use keyward_core::store::BoxError;
use tower::Service as _;
use warp::filters::BoxedFilter;
use warp::http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};
use warp::http::{Method, Request};
use warp::hyper::body::Body;
use warp::reply::Response;

use super::origin::TrustedProxies;
use super::problem::{Kind, Problem};
use super::verify::FORWARD_AUTH;
use super::{App, Named, answer, routes};

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How a JWT begins: with an object, whose first member is in quotation marks (`{"`).
const JWT: &str = "eyJ";
/// What verifications begin with, of which nothing is recorded.
const VERIFY: &str = "/api/v1/api-keys/verify";
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

    /// Answers one request from `peer`.
    pub async fn answer<B>(&self, mut request: Request<B>, peer: SocketAddr) -> Response
    where
        B: Body<Error: Into<BoxError>> + Send + Sync + 'static,
    {
        let began = Instant::now();
        let id = self.request_id(request.headers());
        let mut response = if self.app.limits.headers < size(&request) {
            let detail = format!("the limit is {} bytes", self.app.limits.headers);
            answer(Err(Problem::new(Kind::HeadersTooLarge, detail)))
        } else {
            if !request.uri().path().starts_with(FORWARD_AUTH) {
                // For what is recorded of a change, and for what is still to be logged when the answer
                // is on its way. An authentication never has any of that.
                if may_change(&request) {
                    let origin = self.origin(peer, request.headers(), &id);
                    request.extensions_mut().insert(origin);
                }
                request.headers_mut().insert(X_REQUEST_ID, id.clone());
            }
            let routed = warp::service(self.routes.clone()).call(request);
            match AssertUnwindSafe(routed).catch_unwind().await {
                Ok(Ok(response)) => response,
                Ok(Err(never)) => match never {},
                Err(_) => answer(Err(Problem::internal("a handler panicked"))),
            }
        };
        if let Some(problem) = response.extensions_mut().remove::<Arc<Problem>>() {
            let name = response.extensions().get::<Named>().copied();
            response = problem.answer(text(&id));
            name.map(|name| response.extensions_mut().insert(name));
            log_problem(&problem, text(&id));
        }
        if let Some(Named(call)) = response.extensions().get() {
            let status = response.status().as_u16();
            let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            tracing::info!(request_id = text(&id), call, status, micros, %peer, "answered");
        }
        self.app.metrics.answered(response.status());
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_REQUEST_ID, id);
        response
    }

    /// Where the request came from. What a client says of itself is left out where it may hold a key.
    fn origin(&self, peer: SocketAddr, headers: &HeaderMap, id: &HeaderValue) -> Origin {
        let mut origin = self.proxies.origin(peer, headers, text(id));
        let may_be_secret = |it: &str| self.format.may_be_in(it) || it.contains(JWT);
        origin.user_agent = origin.user_agent.filter(|it| !may_be_secret(it));
        origin
    }

    /// The client's own id where it is well formed and cannot be a key, else a new one.
    fn request_id(&self, headers: &HeaderMap) -> HeaderValue {
        let own = headers.get(X_REQUEST_ID).filter(|id| {
            id.to_str().is_ok_and(|id| is_request_id(id) && !self.format.may_be_in(id))
        });
        own.cloned().unwrap_or_else(|| self.ids.next())
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

/// Whether the request may be one that changes a key, so that it is recorded where it came from.
fn may_change<B>(request: &Request<B>) -> bool {
    request.method() != Method::GET && !request.uri().path().starts_with(VERIFY)
}

/// Bytes of the request's target and of all header names and values.
fn size<B>(request: &Request<B>) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let headers = request.headers().iter();
    target + headers.map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
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
    process: String,
    count: AtomicU64,
}

impl RequestIds {
    fn new(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut random = [0; 8];
        entropy.fill(&mut random)?;
        let process = format!("{:012x}", u64::from_be_bytes(random) >> 16);
        Ok(Self { process, count: AtomicU64::new(1) })
    }

    fn next(&self) -> HeaderValue {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{count}", self.process);
        HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("-"))
    }
}
