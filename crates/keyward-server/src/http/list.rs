//! The list of a workspace's keys: streamed whole, or page by page.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use keyward_core::caller::Authorised;
use keyward_core::clock::Timestamp;
use keyward_core::id::KeyId;
use keyward_core::key::{ApiKey, KeyName, Status};
use keyward_core::scope::Permission;
use keyward_core::store::{Filter, ListPosition, StoreError};
use sync_wrapper::SyncStream;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use warp::http::StatusCode;
use warp::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LINK};
use warp::reply::{Reply as _, Response};

use super::caller::workspace;
use super::front::{X_REQUEST_ID, text};
use super::problem::Problem;
use super::wire::{KeyObject, OBJECT_BYTES};
use super::{App, Call, json_answer, openapi};

/// Records read and written at a time while a list is streamed.
const PAGE: usize = 256;
/// Most records that one may ask for at a time.
const MAX_LIMIT: usize = 1_000;

/// List all API keys
///
/// All keys of the workspace, newest first; equal times by id. The raw key is never among them. With
/// any parameter it also says of revoked keys when, by whom and why they were revoked. With a limit,
/// that many of them, and where there are more a link to those. Whatever is created or revoked
/// meanwhile, a key that is there throughout is on exactly one page.
#[utoipa::path(
    get, path = "/api/v1/workspaces/{id}/api-keys", operation_id = "listApiKeys", tag = "API keys",
    params(
        ("id" = uuid::Uuid, Path, description = "Workspace ID"),
        openapi::ListParameters,
        openapi::WorkspaceHeader,
    ),
    responses(
        (status = 200, description = "The keys of the workspace", body = Vec<KeyObject>, headers(
            ("Link" = String, description = "Where a limit was given and there are more keys: the next page, as `rel=\"next\"`"),
        )),
        openapi::ListProblems,
    ),
    security(("token" = ["api_keys:read"]), ("api_key" = [])),
)]
pub async fn list(
    id: String,
    query: Option<String>,
    headers: HeaderMap,
    call: Call,
) -> Result<Response, Problem> {
    let caller = call.caller(&headers).await?;
    let workspace = workspace(&id, &headers)?;
    let asked = Asked::read(query.as_deref().unwrap_or_default())?;
    let caller = caller.authorise(workspace, Permission::Read)?;
    let Asked { filter, after, limit } = asked;
    let show = if query.is_none() { Show::Documented } else { Show::Whole };
    if let Some(limit) = limit {
        // One more, to see whether there is one.
        let found = call.in_time(call.keys.list(&caller, &filter, after, limit + 1)).await??;
        return page(&found, limit, &caller, &filter);
    }
    let records = call.in_time(call.keys.list(&caller, &filter, after, PAGE)).await??;
    let request_id = headers.get(X_REQUEST_ID).cloned();
    let next = Some(Page { records, opens: true });
    let pages = Pages { app: call.app, caller, filter, show, request_id, next };
    let chunks = SyncStream::new(stream::unfold(pages, Pages::write));
    let mut response = warp::reply::stream(chunks).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// One page, with a link to the next where there is one (RFC 8288).
fn page(
    found: &[ApiKey],
    limit: usize,
    caller: &Authorised,
    filter: &Filter,
) -> Result<Response, Problem> {
    let shown = &found[..limit.min(found.len())];
    let mut text = write(shown, true, Show::Whole).map_err(Problem::internal)?;
    text.put_u8(b']');
    let mut response = json_answer(StatusCode::OK, text.freeze());
    if let Some(last) = shown.last().filter(|_| found.len() > limit) {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &limit.to_string());
        query.append_pair("cursor", &cursor(last.into()));
        if let Some(status) = filter.status {
            query.append_pair("status", status.as_str());
        }
        if let Some(account) = filter.created_by {
            query.append_pair("created_by", &account.to_string());
        }
        if let Some(name) = &filter.name {
            query.append_pair("name", name.as_str());
        }
        let path = format!("/api/v1/workspaces/{}/api-keys", caller.workspace());
        let link = format!("<{path}?{}>; rel=\"next\"", query.finish());
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().insert(LINK, link);
        }
    }
    Ok(response)
}

/// What the query of a list asks for.
#[derive(Debug, Default)]
struct Asked {
    filter: Filter,
    after: Option<ListPosition>,
    limit: Option<usize>,
}

impl Asked {
    /// Reads a query. One that is misspelt is refused: it must not silently ask for everything.
    fn read(query: &str) -> Result<Self, Problem> {
        let mut asked = Self::default();
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let known = match &*name {
                "limit" => asked.limit(&value),
                "cursor" => asked.cursor(&value),
                "status" => asked.status(&value),
                "created_by" => asked.created_by(&value),
                "name" => asked.name(&value),
                _ => Err("the query of a list knows limit, cursor, status, created_by and name"),
            };
            known.map_err(Problem::invalid_request)?;
            if seen.contains(&name) {
                return Err(Problem::invalid_request("a parameter is there more than once"));
            }
            seen.push(name);
        }
        Ok(asked)
    }

    fn limit(&mut self, value: &str) -> Result<(), &'static str> {
        let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        self.limit = Some(limit.ok_or("limit is a number from 1 to 1000")?);
        Ok(())
    }

    fn cursor(&mut self, value: &str) -> Result<(), &'static str> {
        self.after = Some(position(value).ok_or("cursor is not one that a list has given")?);
        Ok(())
    }

    fn status(&mut self, value: &str) -> Result<(), &'static str> {
        let known = [Status::Active, Status::Revoked].into_iter().find(|it| it.as_str() == value);
        self.filter.status = Some(known.ok_or("status is active or revoked")?);
        Ok(())
    }

    fn created_by(&mut self, value: &str) -> Result<(), &'static str> {
        self.filter.created_by = Some(value.parse().map_err(|_| "created_by is not a UUID")?);
        Ok(())
    }

    fn name(&mut self, value: &str) -> Result<(), &'static str> {
        self.filter.name = Some(KeyName::new(value).map_err(|_| "name is not one of a key")?);
        Ok(())
    }
}

/// A position as clients see it: the time in microseconds and the id, in 48 hexadecimal digits.
fn cursor(position: ListPosition) -> String {
    let time = position.created_at.as_micros().cast_unsigned();
    format!("{time:016x}{:032x}", position.id.as_uuid().as_u128())
}

fn position(cursor: &str) -> Option<ListPosition> {
    let digits = |text: &str| text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
    if cursor.len() != 48 || !digits(cursor) {
        return None;
    }
    let (time, id) = cursor.split_at(16);
    let time = u64::from_str_radix(time, 16).ok()?.cast_signed();
    let id = u128::from_str_radix(id, 16).ok()?;
    let (created_at, id) = (Timestamp::from_micros(time)?, KeyId::from_bytes(id.to_be_bytes()));
    Some(ListPosition { created_at, id })
}

/// A list on its way out. Between two pages nothing is held but the last record's position, so memory
/// does not grow with the workspace and a slow reader keeps nothing open in the store.
struct Pages {
    app: Arc<App>,
    caller: Authorised,
    filter: Filter,
    show: Show,
    request_id: Option<HeaderValue>,
    next: Option<Page>,
}

struct Page {
    records: Vec<ApiKey>,
    opens: bool,
}

impl Pages {
    /// Writes the page that is there and reads the next. An error ends the connection without the
    /// final chunk, so that no client takes a part for the whole.
    async fn write(mut self) -> Option<(Result<Bytes, Broken>, Self)> {
        let page = self.next.take()?;
        let chunk = self.follow(page).await;
        if let Err(broken) = &chunk {
            let request_id = self.request_id.as_ref().map(text);
            tracing::warn!(request_id, causes = %broken, "a list broke off");
        }
        Some((chunk, self))
    }

    async fn follow(&mut self, page: Page) -> Result<Bytes, Broken> {
        let mut text = write(&page.records, page.opens, self.show)?;
        match page.records.last().filter(|_| page.records.len() == PAGE) {
            None => text.put_u8(b']'),
            Some(last) => {
                let rest = self.app.keys.list(&self.caller, &self.filter, Some(last.into()), PAGE);
                let records = timeout(self.app.limits.time, rest).await??;
                self.next = Some(Page { records, opens: false });
            }
        }
        Ok(text.freeze())
    }
}

/// How records are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Show {
    Documented,
    Whole,
}

/// Writes records, behind a bracket where they open the list and else behind a comma.
fn write(records: &[ApiKey], opens: bool, show: Show) -> Result<BytesMut, serde_json::Error> {
    let mut text = BytesMut::with_capacity(records.len() * OBJECT_BYTES);
    if opens {
        text.put_u8(b'[');
    }
    for (at, record) in records.iter().enumerate() {
        if at > 0 || !opens {
            text.put_u8(b',');
        }
        let object = match show {
            Show::Documented => KeyObject::documented(record),
            Show::Whole => KeyObject::new(record),
        };
        serde_json::to_writer((&mut text).writer(), &object)?;
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
    #[error("a record could not be written: {0}")]
    Json(#[from] serde_json::Error),
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_as_the_position_that_it_was_made_of() {
        for micros in [-62_167_219_200_000_000, -1, 0, 1_705_311_000_000_001] {
            let created_at = Timestamp::from_micros(micros).unwrap();
            let at = ListPosition { created_at, id: KeyId::from_bytes([0xab; 16]) };
            assert_eq!(position(&cursor(at)), Some(at));
        }
    }

    #[test]
    fn what_no_list_has_given_is_no_cursor() {
        let good = "00060ef8a2d1e80100000000000000000000000000000001";
        assert!(position(good).is_some());
        let late = format!("7fff{}", &good[4..]);
        for bad in
            ["", &good[1..], &format!("{good}0"), &good.to_uppercase(), &late, "é", &"+".repeat(48)]
        {
            assert!(position(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_query_that_is_misspelt_or_repeated_is_refused() {
        assert!(Asked::read("").is_ok());
        assert!(Asked::read("limit=1000&status=active&name=CI%2FCD&created_by=770e8400-e29b-41d4-a716-446655440000").is_ok());
        for bad in [
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=",
            "Limit=1",
            "status=Active",
            "limit=1&limit=1",
            "created_by=me",
            "name=",
            "cursor=1",
            "x",
        ] {
            assert!(Asked::read(bad).is_err(), "{bad}");
        }
    }
}
