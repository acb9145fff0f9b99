//! Operations: is the process alive, can it serve, what has it counted, what can be asked of it.

use std::sync::Arc;

use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::http::header::{CONTENT_TYPE, HeaderValue};
use warp::reply::{Reply as _, Response};
use warp::{Filter, path};

use super::problem::Problem;
use super::{App, Call, answer, call, json_answer, openapi};

/// `/healthz`, `/readyz`, `/metrics` and `/openapi.json`.
pub fn routes(app: &Arc<App>) -> BoxedFilter<(Response,)> {
    let document = openapi::document();
    let get = || warp::get().or(warp::head()).unify();
    let health = path!("healthz").and(get()).then(health);
    let ready = path!("readyz").and(get()).and(call(app)).then(ready);
    let metrics = path!("metrics").and(get()).and(call(app)).then(metrics);
    let openapi = path!("openapi.json").and(get()).map(move || {
        document.clone().map(|json| json_answer(StatusCode::OK, json)).map_err(Problem::internal)
    });
    let other = path!("healthz")
        .or(path!("readyz"))
        .unify()
        .or(path!("metrics"))
        .unify()
        .or(path!("openapi.json"))
        .unify()
        .map(|| Err(Problem::method_not_allowed("GET, HEAD")));
    health
        .or(ready)
        .unify()
        .or(metrics)
        .unify()
        .or(openapi)
        .unify()
        .or(other)
        .unify()
        .map(answer)
        .boxed()
}

/// Is the process alive?
#[utoipa::path(
    get, path = "/healthz", operation_id = "health", tag = "Operations",
    responses((status = 200, description = "It is", body = String, content_type = "text/plain"), openapi::AnyProblems),
)]
async fn health() -> Result<Response, Problem> {
    Ok("ok\n".into_response())
}

/// Can it serve?
///
/// 200 when the storage answers and, where others change it too, says what has changed; else 503.
#[utoipa::path(
    get, path = "/readyz", operation_id = "ready", tag = "Operations",
    responses(
        (status = 200, description = "It can", body = String, content_type = "text/plain"),
        openapi::ReadyProblems,
    ),
)]
async fn ready(call: Call) -> Result<Response, Problem> {
    call.in_time(call.store.ready()).await??;
    call.in_time(call.verifier.ready()).await??;
    Ok("ready\n".into_response())
}

/// What has it counted?
///
/// In the text format of Prometheus, version 0.0.4.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "Operations",
    responses((status = 200, description = "All metrics", body = String, content_type = "text/plain"), openapi::AnyProblems),
)]
async fn metrics(call: Call) -> Result<Response, Problem> {
    let text = call.metrics.render(&call.verifier);
    let mut response = text.into_response();
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, format);
    Ok(response)
}
