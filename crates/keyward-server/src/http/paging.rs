//! Lists: streamed whole, or page by page.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use keyward_core::clock::Timestamp;
use keyward_core::store::StoreError;
use sync_wrapper::SyncStream;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use uuid::Uuid;
use warp::http::StatusCode;
use warp::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LINK};
use warp::reply::{Reply as _, Response};

use super::front::{X_REQUEST_ID, text};
use super::problem::Problem;
use super::wire::OBJECT_BYTES;
use super::{App, Call, json_answer};

/// Items read and written at a time while a list is streamed.
const PAGE: usize = 256;
/// Most items that one may ask for at a time.
const MAX_LIMIT: usize = 1_000;

/// What is listed.
pub trait Listing: Send + Sync + 'static {
    /// One of it.
    type Item: Send + Sync + 'static;

    /// At most `limit` behind `after`, or from where the list is to begin. Fewer mean that it ends.
    fn read(
        &self,
        app: &App,
        after: Option<&Self::Item>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Self::Item>, StoreError>> + Send;

    /// Writes one as JSON.
    fn write(&self, item: &Self::Item, text: &mut Vec<u8>) -> serde_json::Result<()>;

    /// Where the page behind this item is.
    fn next_page(&self, last: &Self::Item, limit: usize) -> String;
}

/// The answer to a list: one page where there is a limit, and else all of it.
pub async fn answer<L: Listing>(
    listing: L,
    limit: Option<usize>,
    headers: &HeaderMap,
    call: Call,
) -> Result<Response, Problem> {
    if let Some(limit) = limit {
        // One more, to see whether there is one.
        let found = call.in_time(listing.read(&call, None, limit + 1)).await??;
        return page(&listing, &found, limit);
    }
    let items = call.in_time(listing.read(&call, None, PAGE)).await??;
    let request_id = headers.get(X_REQUEST_ID).cloned();
    let pages = Pages { app: call.app, listing, request_id, next: Some((items, true)) };
    let chunks = SyncStream::new(stream::unfold(pages, Pages::write));
    let mut response = warp::reply::stream(chunks).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// One page, with a link to the next where there is one (RFC 8288).
fn page<L: Listing>(listing: &L, found: &[L::Item], limit: usize) -> Result<Response, Problem> {
    let shown = &found[..limit.min(found.len())];
    let mut text = write(listing, shown, true).map_err(Problem::internal)?;
    text.push(b']');
    let mut response = json_answer(StatusCode::OK, text.into());
    if let Some(last) = shown.last().filter(|_| found.len() > limit) {
        let link = format!("<{}>; rel=\"next\"", listing.next_page(last, limit));
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().insert(LINK, link);
        }
    }
    Ok(response)
}

/// A list on its way out. Between two pages nothing is held but the last page, so memory does not grow
/// with the list and a slow reader keeps nothing open in the store.
struct Pages<L: Listing> {
    app: Arc<App>,
    listing: L,
    request_id: Option<HeaderValue>,
    /// What is written next, and whether it opens the list.
    next: Option<(Vec<L::Item>, bool)>,
}

impl<L: Listing> Pages<L> {
    /// Writes the page that is there and reads the next. An error ends the connection without the
    /// final chunk, so that no client takes a part for the whole.
    async fn write(mut self) -> Option<(Result<Bytes, Broken>, Self)> {
        let (items, opens) = self.next.take()?;
        let chunk = self.follow(&items, opens).await;
        if let Err(broken) = &chunk {
            let request_id = self.request_id.as_ref().map(text);
            tracing::warn!(request_id, causes = %broken, "a list broke off");
        }
        Some((chunk, self))
    }

    async fn follow(&mut self, items: &[L::Item], opens: bool) -> Result<Bytes, Broken> {
        let mut text = write(&self.listing, items, opens)?;
        match items.last().filter(|_| items.len() == PAGE) {
            None => text.push(b']'),
            Some(last) => {
                let rest = self.listing.read(&self.app, Some(last), PAGE);
                self.next = Some((timeout(self.app.limits.time, rest).await??, false));
            }
        }
        Ok(text.into())
    }
}

/// Writes items, behind a bracket where they open the list and else behind a comma.
fn write<L: Listing>(
    listing: &L,
    items: &[L::Item],
    opens: bool,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = Vec::with_capacity(items.len() * OBJECT_BYTES);
    if opens {
        text.push(b'[');
    }
    for (at, item) in items.iter().enumerate() {
        if at > 0 || !opens {
            text.push(b',');
        }
        listing.write(item, &mut text)?;
    }
    Ok(text)
}

/// Why a list could not be finished.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the storage failed: {0}")]
    Store(#[from] StoreError),
    #[error("the storage did not answer in time")]
    Late(#[from] Elapsed),
    #[error("an item could not be written: {0}")]
    Json(#[from] serde_json::Error),
}

/// Reads a query, each parameter of which `take` must know. One that is misspelt is refused, and one
/// that is repeated: it must not silently ask for something else.
pub fn parameters(
    query: &str,
    mut take: impl FnMut(&str, &str) -> Result<(), &'static str>,
) -> Result<(), Problem> {
    let mut seen = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        take(&name, &value).map_err(Problem::invalid_request)?;
        if seen.contains(&name) {
            return Err(Problem::invalid_request("a parameter is there more than once"));
        }
        seen.push(name);
    }
    Ok(())
}

/// A limit out of a query.
pub fn limit(value: &str) -> Result<usize, &'static str> {
    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or("limit is a number from 1 to 1000")
}

/// A place in a list as clients see it: a time in microseconds and an id, in 48 hexadecimal digits.
pub fn cursor(time: Timestamp, id: Uuid) -> String {
    format!("{:016x}{:032x}", time.as_micros().cast_unsigned(), id.as_u128())
}

/// The place that a cursor out of a query names.
pub fn position(cursor: &str) -> Result<(Timestamp, Uuid), &'static str> {
    read_cursor(cursor).ok_or("cursor is not one that a list has given")
}

fn read_cursor(cursor: &str) -> Option<(Timestamp, Uuid)> {
    let digits = |text: &str| text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
    if cursor.len() != 48 || !digits(cursor) {
        return None;
    }
    let (time, id) = cursor.split_at(16);
    let time = u64::from_str_radix(time, 16).ok()?.cast_signed();
    let id = u128::from_str_radix(id, 16).ok()?;
    Some((Timestamp::from_micros(time)?, Uuid::from_u128(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_as_the_position_that_it_was_made_of() {
        for micros in [-62_167_219_200_000_000, -1, 0, 1_705_311_000_000_001] {
            let at = (Timestamp::from_micros(micros).unwrap(), Uuid::from_bytes([0xab; 16]));
            assert_eq!(position(&cursor(at.0, at.1)), Ok(at));
        }
    }

    #[test]
    fn what_no_list_has_given_is_no_cursor() {
        let good = "00060ef8a2d1e80100000000000000000000000000000001";
        assert!(position(good).is_ok());
        let late = format!("7fff{}", &good[4..]);
        for bad in
            ["", &good[1..], &format!("{good}0"), &good.to_uppercase(), &late, "é", &"+".repeat(48)]
        {
            assert!(position(bad).is_err(), "{bad}");
        }
    }
}
