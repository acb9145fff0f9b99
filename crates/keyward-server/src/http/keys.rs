//! The three documented calls: list, create, revoke.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use keyward_core::caller::Authorised;
use keyward_core::freshness::Freshness;
use keyward_core::id::KeyId;
use keyward_core::key::ApiKey;
use keyward_core::scope::Permission;
use keyward_core::service::NewKey;
use keyward_core::store::StoreError;
use sync_wrapper::SyncStream;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use warp::reply::{Reply as _, Response};
use warp::{Filter, path};

use super::body::{Body, body};
use super::caller::workspace;
use super::front::{X_REQUEST_ID, text};
use super::problem::{Kind, Problem};
use super::wire::{CreateKey, KeyObject, OBJECT_BYTES, Revoked, json};
use super::{App, Call, answer, call, json_answer, named, openapi};

/// Records read and written at a time while a list is streamed.
const PAGE: usize = 256;

/// `/api/v1/workspaces/{id}/api-keys` and what is below it.
pub fn routes(app: &Arc<App>) -> BoxedFilter<(Response,)> {
    let keys = path!("api" / "v1" / "workspaces" / String / "api-keys" / ..);
    let collection = keys.and(path::end());
    let item = keys.and(path::param::<String>()).and(path::end());
    let headers = warp::header::headers_cloned;

    let list =
        collection.and(warp::get()).and(headers()).and(call(app)).then(list).map(named("list"));
    let create = collection
        .and(warp::post())
        .and(headers())
        .and(body())
        .and(call(app))
        .then(create)
        .map(named("create"));
    let revoke =
        item.and(warp::delete()).and(headers()).and(call(app)).then(revoke).map(named("revoke"));
    let no_collection =
        collection.map(|_| Err(Problem::method_not_allowed("GET, POST"))).map(answer);
    let no_item = item.map(|_, _| Err(Problem::method_not_allowed("DELETE"))).map(answer);

    list.or(create).unify().or(revoke).unify().or(no_collection).unify().or(no_item).unify().boxed()
}

/// List all API keys
///
/// All keys of the workspace, newest first; equal times by id. The raw key is never among them.
#[utoipa::path(
    get, path = "/api/v1/workspaces/{id}/api-keys", operation_id = "listApiKeys", tag = "API keys",
    params(("id" = uuid::Uuid, Path, description = "Workspace ID"), openapi::WorkspaceHeader),
    responses(
        (status = 200, description = "The keys of the workspace", body = Vec<KeyObject>),
        openapi::ListProblems,
    ),
    security(("token" = ["api_keys:read"]), ("api_key" = [])),
)]
async fn list(id: String, headers: HeaderMap, call: Call) -> Result<Response, Problem> {
    let caller = call.caller(&headers).await?;
    let caller = caller.authorise(workspace(&id, &headers)?, Permission::Read)?;
    let records = call.in_time(call.keys.list(&caller, None, PAGE)).await??;
    let request_id = headers.get(X_REQUEST_ID).cloned();
    let next = Some(Page { records, opens: true });
    let pages = Pages { app: call.app, caller, request_id, next };
    let chunks = SyncStream::new(stream::unfold(pages, Pages::write));
    let mut response = warp::reply::stream(chunks).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// A list on its way out. Between two pages nothing is held but the last record's position, so memory
/// does not grow with the workspace and a slow reader keeps nothing open in the store.
struct Pages {
    app: Arc<App>,
    caller: Authorised,
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
        let mut text = page.write()?;
        match page.records.last().filter(|_| page.records.len() == PAGE) {
            None => text.put_u8(b']'),
            Some(last) => {
                let rest = self.app.keys.list(&self.caller, Some(last.into()), PAGE);
                let records = timeout(self.app.limits.time, rest).await??;
                self.next = Some(Page { records, opens: false });
            }
        }
        Ok(text.freeze())
    }
}

impl Page {
    fn write(&self) -> Result<BytesMut, serde_json::Error> {
        let mut text = BytesMut::with_capacity(self.records.len() * OBJECT_BYTES);
        if self.opens {
            text.put_u8(b'[');
        }
        for (at, record) in self.records.iter().enumerate() {
            if at > 0 || !self.opens {
                text.put_u8(b',');
            }
            serde_json::to_writer((&mut text).writer(), &KeyObject::new(record))?;
        }
        Ok(text)
    }
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

/// Create a new API key
///
/// The raw key is in this answer and in no other. Store it: it cannot be had again.
#[utoipa::path(
    post, path = "/api/v1/workspaces/{id}/api-keys", operation_id = "createApiKey", tag = "API keys",
    params(("id" = uuid::Uuid, Path, description = "Workspace ID"), openapi::WorkspaceHeader),
    request_body = CreateKey,
    responses(
        (status = 201, description = "The key, with its raw value", body = KeyObject,
            headers(("Location" = String, description = "The path of the key"))),
        openapi::CreateProblems,
    ),
    security(("token" = ["api_keys:write"]), ("api_key" = [])),
)]
async fn create(
    id: String,
    headers: HeaderMap,
    mut body: Body,
    call: Call,
) -> Result<Response, Problem> {
    let began = Instant::now();
    let created = call.create(&id, &headers, &mut body).await;
    match &created {
        Ok(_) => call.metrics.created(began.elapsed()),
        Err(_) => body.drain(&headers).await,
    }
    created
}

impl Call {
    async fn create(
        &self,
        id: &str,
        headers: &HeaderMap,
        body: &mut Body,
    ) -> Result<Response, Problem> {
        let caller = self.caller(headers).await?;
        let caller = caller.authorise(workspace(id, headers)?, Permission::Write)?;
        let wanted = CreateKey::read(&body.read_json(headers, self.body_limits()).await?)?;
        let new = NewKey { name: wanted.name, scopes: wanted.scopes };
        let (key, plain) = self.in_time(self.keys.create(&caller, new)).await??;
        let secret = plain.reveal();
        let mut response =
            json_answer(StatusCode::CREATED, json(&KeyObject::revealed(&key, &secret))?);
        let location = format!("/api/v1/workspaces/{}/api-keys/{}", key.workspace_id, key.id);
        if let Ok(location) = HeaderValue::from_str(&location) {
            response.headers_mut().insert(LOCATION, location);
        }
        Ok(response)
    }
}

/// Revoke an API key
///
/// Permanently. Once this has answered, every request with the key is refused, on every node.
/// Revoking again gives the same answer and changes nothing.
#[utoipa::path(
    delete, path = "/api/v1/workspaces/{id}/api-keys/{keyId}", operation_id = "revokeApiKey", tag = "API keys",
    params(
        ("id" = uuid::Uuid, Path, description = "Workspace ID"),
        ("keyId" = uuid::Uuid, Path, description = "API key ID to revoke"),
        openapi::WorkspaceHeader,
    ),
    responses(
        (status = 200, description = "The key is revoked", body = Revoked),
        openapi::RevokeProblems,
    ),
    security(("token" = ["api_keys:write"]), ("api_key" = [])),
)]
async fn revoke(
    id: String,
    key: String,
    headers: HeaderMap,
    call: Call,
) -> Result<Response, Problem> {
    let began = Instant::now();
    let caller = call.caller(&headers).await?;
    let workspace = workspace(&id, &headers)?;
    let key: KeyId = key
        .parse()
        .map_err(|_| Problem::invalid_request("the key id in the path is not a UUID"))?;
    let caller = caller.authorise_revocation(workspace, key)?;
    // In a task of its own: a client that goes away, or the deadline, ends this future, but must
    // not end the revocation between its write and the eviction of what memory holds.
    let keys = Arc::clone(&call.keys);
    let revocation = tokio::spawn(async move { keys.revoke(&caller, key).await });
    // Beyond its own time a revocation takes that of the nodes that may still answer from memory.
    let barrier = call.verifier.freshness().map_or(Duration::ZERO, Freshness::barrier);
    let call = call.extended(barrier);
    let revoked = call.in_time(revocation).await?.map_err(Problem::internal)??;
    match revoked {
        Some(_) => {
            call.metrics.revoked(began.elapsed());
            Ok(json_answer(StatusCode::OK, json(&Revoked::ANSWER)?))
        }
        None => Err(Problem::new(Kind::NoSuchKey, "no key of this workspace has this id")),
    }
}
