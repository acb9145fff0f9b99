//! The HTTP interface: routes and their handlers.
//!
//! A handler is a plain async function from what its filter extracted to a response or a [`Problem`].
//! The order of judgement is that of its lines: route and method (the filter), then caller, then
//! path ids and headers, then workspace and scope, then body, then the record.

mod audit;
mod body;
mod bulk;
mod caller;
mod fields;
mod front;
mod grammar;
mod idempotency;
mod keys;
mod list;
mod metrics;
mod openapi;
mod ops;
mod origin;
mod paging;
mod problem;
mod requests;
#[cfg(test)]
mod tests;
mod verify;
mod wire;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use keyward_core::audit::Origin;
use keyward_core::service::Keys;
use keyward_core::store::KeyStore;
use keyward_core::verify::Verifier;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::http::header::{CONTENT_TYPE, HeaderValue};
use warp::reply::{Reply as _, Response};

use self::body::BodyLimits;
pub use self::front::Front;
pub use self::metrics::Metrics;
pub use self::origin::TrustedProxies;
use self::problem::{Kind, Problem};
use crate::token::Tokens;

/// What the handlers work with.
pub struct App {
    pub keys: Arc<Keys>,
    pub verifier: Arc<Verifier>,
    pub store: Arc<dyn KeyStore>,
    pub tokens: Tokens,
    pub metrics: Metrics,
    pub limits: Limits,
}

/// Bounds of one request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most bytes of a body.
    pub body: usize,
    /// Most bytes of all header names and values together.
    pub headers: usize,
    /// Longest time from the end of the headers to the answer, and for one page of a list.
    pub time: Duration,
}

/// One request on its way: the application, and the moment by which it must be answered.
pub struct Call {
    app: Arc<App>,
    deadline: Instant,
    /// Where the request came from. Not known of authentications, of which nothing is recorded.
    origin: Origin,
}

impl Deref for Call {
    type Target = App;

    fn deref(&self) -> &App {
        &self.app
    }
}

impl Call {
    /// The bounds of this request's body.
    fn body_limits(&self) -> BodyLimits {
        BodyLimits { bytes: self.limits.body, deadline: self.deadline }
    }

    /// The same request with more time.
    fn extended(self, by: Duration) -> Self {
        Self { deadline: self.deadline + by, ..self }
    }

    /// What `work` brings, or the problem that it did not end in time.
    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, Problem> {
        in_time(|| self.deadline, work).await
    }
}

/// What `work` brings, or the problem that it did not end by `deadline`.
async fn in_time<T>(
    deadline: impl FnOnce() -> Instant,
    work: impl Future<Output = T>,
) -> Result<T, Problem> {
    by(deadline, work)
        .await
        .map_err(|_| Problem::unavailable("the request could not be answered in time"))
}

/// What `work` brings by `deadline`. Work that is done at once, such as a verification from memory,
/// costs no timer, no room for one, and no look at a clock.
async fn by<T>(
    deadline: impl FnOnce() -> Instant,
    work: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    let mut work = pin!(work);
    match poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => Box::pin(timeout_at(deadline(), work)).await,
    }
}

/// Extracts the call.
fn call(app: &Arc<App>) -> impl Filter<Extract = (Call,), Error = Infallible> + Clone + use<> {
    let app = Arc::clone(app);
    warp::ext::optional().map(move |origin: Option<Origin>| Call {
        app: Arc::clone(&app),
        deadline: Instant::now() + app.limits.time,
        origin: origin.unwrap_or_default(),
    })
}

/// Extracts the query, where there is one.
fn query() -> impl Filter<Extract = (Option<String>,), Error = Infallible> + Copy {
    warp::query::raw().map(Some).or(warp::any().map(|| None)).unify()
}

/// All routes but those of [`verify`], which the front asks first. What nobody answered has no route.
pub fn routes(app: &Arc<App>) -> BoxedFilter<(Response,)> {
    let no_route = warp::any().map(|| {
        answer(Err(Problem::new(Kind::NoSuchRoute, "see /openapi.json for what there is")))
    });
    bulk::routes(app)
        .or(keys::routes(app))
        .unify()
        .or(audit::routes(app))
        .unify()
        .or(ops::routes(app))
        .unify()
        .or(no_route)
        .unify()
        .boxed()
}

/// A handler's outcome as a response. A problem travels in the response's extensions to the front,
/// which writes it out.
fn answer(outcome: Result<Response, Problem>) -> Response {
    outcome.unwrap_or_else(|problem| {
        let mut response = problem.kind.status().into_response();
        response.extensions_mut().insert(Arc::new(problem));
        response
    })
}

/// A response that holds this JSON.
fn json_answer(status: StatusCode, json: Bytes) -> Response {
    let mut response = Response::new(json.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The name of a management call, for the log. Verifications carry none and are not logged.
#[derive(Debug, Clone, Copy)]
struct Named(&'static str);

/// As [`answer`], for a call that is logged under this name.
fn named(name: &'static str) -> impl Fn(Result<Response, Problem>) -> Response + Clone {
    move |outcome| {
        let mut response = answer(outcome);
        response.extensions_mut().insert(Named(name));
        response
    }
}
