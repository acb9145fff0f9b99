//! Requests that may be sent again.

use warp::http::HeaderName;
use warp::http::header::HeaderMap;

use super::caller::single;
use super::problem::Problem;

/// What a client names a request by that it may send again.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// The name that the client gives a request which it may send again.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let name = single(headers, &IDEMPOTENCY_KEY)?;
    let good =
        |it: &str| (1..=MAX_IDEMPOTENCY_KEY).contains(&it.len()) && !it.contains([' ', '\t']);
    match name {
        Some(name) if !good(name) => {
            let why = "an Idempotency-Key has 1 to 255 characters of visible ASCII";
            Err(Problem::invalid_request(why))
        }
        name => Ok(name),
    }
}
