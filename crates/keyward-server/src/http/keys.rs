//! The keys of a workspace: list, create, get, change, rotate, revoke.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyward_core::caller::{Authorised, Credential};
use keyward_core::details::Reason;
use keyward_core::freshness::Freshness;
use keyward_core::id::KeyId;
use keyward_core::key::ApiKey;
use keyward_core::scope::Permission;
use keyward_core::secret::PlainKey;
use keyward_core::service::{Created, Repeatable};
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::http::header::{HeaderMap, HeaderValue, LOCATION};
use warp::reply::Response;
use warp::{Filter, path};

use super::body::{Body, body};
use super::caller::workspace;
use super::idempotency::idempotency_key;
use super::list::list;
use super::problem::{Kind, Problem};
use super::requests::{CreateKey, EditKey, RotateKey};
use super::wire::{KeyObject, Replayed, Revoked, json};
use super::{App, Call, answer, call, json_answer, named, openapi, query};

/// `/api/v1/workspaces/{id}/api-keys` and what is below it, and `/api/v1/api-keys/self`.
pub fn routes(app: &Arc<App>) -> BoxedFilter<(Response,)> {
    let keys = path!("api" / "v1" / "workspaces" / String / "api-keys" / ..);
    let collection = keys.and(path::end());
    let item = keys.and(path::param::<String>()).and(path::end());
    let rotation = keys.and(path::param::<String>()).and(path("rotate")).and(path::end());
    let own = path!("api" / "v1" / "api-keys" / "self");
    let headers = warp::header::headers_cloned;
    let not_allowed = |methods: &'static str| move || Err(Problem::method_not_allowed(methods));
    let (no_collection, no_item) = (not_allowed("GET, POST"), not_allowed("GET, PATCH, DELETE"));
    let (no_rotation, no_own) = (not_allowed("POST"), not_allowed("DELETE"));

    let list = collection
        .and(warp::get())
        .and(query())
        .and(headers())
        .and(call(app))
        .then(list)
        .map(named("list"));
    let create = collection
        .and(warp::post())
        .and(headers())
        .and(body())
        .and(call(app))
        .then(create)
        .map(named("create"));
    let get = item.and(warp::get()).and(headers()).and(call(app)).then(get).map(named("get"));
    let edit = item
        .and(warp::patch())
        .and(headers())
        .and(body())
        .and(call(app))
        .then(edit)
        .map(named("edit"));
    let revoke = item
        .and(warp::delete())
        .and(query())
        .and(headers())
        .and(call(app))
        .then(revoke)
        .map(named("revoke"));
    let rotate = rotation
        .and(warp::post())
        .and(headers())
        .and(body())
        .and(call(app))
        .then(rotate)
        .map(named("rotate"));
    let revoke_own = own
        .and(warp::delete())
        .and(query())
        .and(headers())
        .and(call(app))
        .then(revoke_own)
        .map(named("revoke"));

    let no_collection = collection.map(move |_| answer(no_collection()));
    let no_item = item.map(move |_, _| answer(no_item()));
    let no_rotation = rotation.map(move |_, _| answer(no_rotation()));
    let no_own = own.map(move || answer(no_own()));
    let on_collection = list.or(create).unify().or(no_collection).unify().boxed();
    let on_item = get.or(edit).unify().or(revoke).unify().or(no_item).unify().boxed();
    let on_rotation = rotate.or(no_rotation).unify();
    let on_own = revoke_own.or(no_own).unify();
    on_collection.or(on_item).unify().or(on_rotation).unify().or(on_own).unify().boxed()
}

/// Create a new API key
///
/// The raw key is in this answer and in no other. Store it: it cannot be had again. Where the answer
/// may get lost, send an `Idempotency-Key`: the same request sent again then makes no second key, and
/// names the one that there is.
#[utoipa::path(
    post, path = "/api/v1/workspaces/{id}/api-keys", operation_id = "createApiKey", tag = "API keys",
    params(
        ("id" = uuid::Uuid, Path, description = "Workspace ID"),
        openapi::WorkspaceHeader,
        openapi::IdempotencyHeader,
    ),
    request_body = CreateKey,
    responses(
        (status = 201, description = "The key, with its raw value", body = KeyObject,
            headers(("Location" = String, description = "The path of the key"))),
        (status = 200, description = "The key that the same request made before, without its raw value",
            body = Replayed,
            headers(("Location" = String, description = "The path of the key"))),
        openapi::OnceProblems,
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
    if created.is_ok() {
        call.metrics.created(began.elapsed());
    }
    body.done(&headers, created).await
}

impl Call {
    async fn create(
        &self,
        id: &str,
        headers: &HeaderMap,
        body: &mut Body,
    ) -> Result<Response, Problem> {
        let caller = self.caller(headers).await?;
        let workspace = workspace(id, headers)?;
        let name = idempotency_key(headers)?;
        let caller = caller.authorise(workspace, Permission::Write)?;
        let bytes = body.read_json(headers, self.body_limits()).await?;
        let new = CreateKey::read(&bytes)?;
        let repeatable = name.map(|name| Repeatable { name, body: &bytes });
        match self.in_time(self.keys.create(&caller, new, repeatable)).await?? {
            Created::New(key, plain) => revealed(&key, plain),
            Created::Before(key) => {
                let replayed = Replayed { key: KeyObject::new(&key), detail: Replayed::DETAIL };
                Ok(located(&key, json_answer(StatusCode::OK, json(&replayed)?)))
            }
        }
    }

    /// What `change` brings, made in a task of its own: a client that goes away, or the deadline, ends
    /// the handler's future, but must not end the change between its write and the eviction of what
    /// memory holds. Beyond its own time a change takes that of the nodes that may still answer from
    /// memory.
    pub async fn settle<T: Send + 'static>(
        self,
        change: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Problem> {
        let change = tokio::spawn(change);
        let barrier = self.barrier();
        self.extended(barrier).in_time(change).await?.map_err(Problem::internal)
    }
}

impl Call {
    /// How long a change waits for the nodes that may still answer from memory.
    pub fn barrier(&self) -> Duration {
        self.verifier.freshness().map_or(Duration::ZERO, Freshness::barrier)
    }
}

/// The answer that shows a new key, this once.
fn revealed(key: &ApiKey, plain: PlainKey) -> Result<Response, Problem> {
    let secret = plain.reveal();
    let object = json(&KeyObject::revealed(key, &secret))?;
    Ok(located(key, json_answer(StatusCode::CREATED, object)))
}

/// The answer with the path of the key.
fn located(key: &ApiKey, mut response: Response) -> Response {
    let location = format!("/api/v1/workspaces/{}/api-keys/{}", key.workspace_id, key.id);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn key_id(segment: &str) -> Result<KeyId, Problem> {
    let id = segment.parse();
    id.map_err(|_| Problem::invalid_request("the key id in the path is not a UUID"))
}

fn no_such_key() -> Problem {
    Problem::new(Kind::NoSuchKey, "no key of this workspace has this id")
}

/// Get an API key
///
/// As the list shows it that was asked for with a parameter.
#[utoipa::path(
    get, path = "/api/v1/workspaces/{id}/api-keys/{keyId}", operation_id = "getApiKey", tag = "API keys",
    params(
        ("id" = uuid::Uuid, Path, description = "Workspace ID"),
        ("keyId" = uuid::Uuid, Path, description = "API key ID"),
        openapi::WorkspaceHeader,
    ),
    responses(
        (status = 200, description = "The key", body = KeyObject),
        openapi::GetProblems,
    ),
    security(("token" = ["api_keys:read"]), ("api_key" = [])),
)]
async fn get(id: String, key: String, headers: HeaderMap, call: Call) -> Result<Response, Problem> {
    let caller = call.caller(&headers).await?;
    let (workspace, key) = (workspace(&id, &headers)?, key_id(&key)?);
    let caller = caller.authorise(workspace, Permission::Read)?;
    let found = call.in_time(call.keys.get(&caller, key)).await??;
    let found = found.ok_or_else(no_such_key)?;
    let last_use = call.in_time(call.keys.last_use(&caller, &found)).await??;
    Ok(json_answer(StatusCode::OK, json(&KeyObject::new(&found).last_used(last_use))?))
}

/// Change an API key
///
/// What the body names becomes what it says; the rest stays. Once this has answered, every node judges
/// by it. A revoked key does not change any more.
#[utoipa::path(
    patch, path = "/api/v1/workspaces/{id}/api-keys/{keyId}", operation_id = "editApiKey", tag = "API keys",
    params(
        ("id" = uuid::Uuid, Path, description = "Workspace ID"),
        ("keyId" = uuid::Uuid, Path, description = "API key ID"),
        openapi::WorkspaceHeader,
    ),
    request_body = EditKey,
    responses(
        (status = 200, description = "The key as it is now", body = KeyObject),
        openapi::ChangeProblems,
    ),
    security(("token" = ["api_keys:write"]), ("api_key" = [])),
)]
async fn edit(
    id: String,
    key: String,
    headers: HeaderMap,
    mut body: Body,
    call: Call,
) -> Result<Response, Problem> {
    let read = async {
        let caller = call.caller(&headers).await?;
        let (workspace, key) = (workspace(&id, &headers)?, key_id(&key)?);
        let caller = caller.authorise(workspace, Permission::Write)?;
        let wanted = EditKey::read(&body.read_json(&headers, call.body_limits()).await?)?;
        Ok((caller, key, wanted))
    };
    let read = read.await;
    let (caller, key, wanted) = body.done(&headers, read).await?;
    let keys = Arc::clone(&call.keys);
    let edited = call.settle(async move { keys.edit(&caller, key, wanted).await }).await??;
    let edited = edited.ok_or_else(no_such_key)?;
    Ok(json_answer(StatusCode::OK, json(&KeyObject::new(&edited))?))
}

/// Rotate an API key
///
/// Makes a new key with the same name, scopes, description, metadata and length of life, and shows it,
/// this once. The old key stays good for the grace, and without one is revoked: once this has
/// answered, no node accepts it for longer. Both are one step. A key is rotated once.
#[utoipa::path(
    post, path = "/api/v1/workspaces/{id}/api-keys/{keyId}/rotate", operation_id = "rotateApiKey", tag = "API keys",
    params(
        ("id" = uuid::Uuid, Path, description = "Workspace ID"),
        ("keyId" = uuid::Uuid, Path, description = "API key ID"),
        openapi::WorkspaceHeader,
    ),
    request_body = RotateKey,
    responses(
        (status = 201, description = "The new key, with its raw value", body = KeyObject,
            headers(("Location" = String, description = "The path of the new key"))),
        openapi::ChangeProblems,
    ),
    security(("token" = ["api_keys:write"]), ("api_key" = [])),
)]
async fn rotate(
    id: String,
    key: String,
    headers: HeaderMap,
    mut body: Body,
    call: Call,
) -> Result<Response, Problem> {
    let read = async {
        let caller = call.caller(&headers).await?;
        let (workspace, key) = (workspace(&id, &headers)?, key_id(&key)?);
        let caller = caller.authorise(workspace, Permission::Write)?;
        let wanted = RotateKey::read(&body.read_json(&headers, call.body_limits()).await?)?;
        Ok((caller, key, wanted.grace_seconds))
    };
    let read = read.await;
    let (caller, key, grace) = body.done(&headers, read).await?;
    let keys = Arc::clone(&call.keys);
    let rotated = call.settle(async move { keys.rotate(&caller, key, grace).await }).await??;
    let (successor, plain) = rotated.ok_or_else(no_such_key)?;
    revealed(&successor, plain)
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
        openapi::ReasonParameter,
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
    query: Option<String>,
    headers: HeaderMap,
    call: Call,
) -> Result<Response, Problem> {
    let caller = call.caller(&headers).await?;
    let (workspace, key) = (workspace(&id, &headers)?, key_id(&key)?);
    let reason = reason(query.as_deref())?;
    let caller = caller.authorise_revocation(workspace, key)?;
    call.revoke(caller, key, reason).await
}

/// Revoke the API key that is presented
///
/// For whoever holds a key and nothing else. Repeated, the answer is 401: the key is not good any
/// more.
#[utoipa::path(
    delete, path = "/api/v1/api-keys/self", operation_id = "revokeOwnApiKey", tag = "API keys",
    params(openapi::ReasonParameter),
    responses(
        (status = 200, description = "The key is revoked", body = Revoked),
        openapi::OwnProblems,
    ),
    security(("api_key" = [])),
)]
async fn revoke_own(
    query: Option<String>,
    headers: HeaderMap,
    call: Call,
) -> Result<Response, Problem> {
    let caller = call.caller(&headers).await?;
    let reason = reason(query.as_deref())?;
    let (Credential::Key(key), &[workspace]) = (caller.credential, &*caller.workspaces) else {
        let why = "this revokes the API key that is presented, and what was presented is a token";
        return Err(Problem::invalid_request(why));
    };
    let caller = caller.authorise_revocation(workspace, key)?;
    call.revoke(caller, key, reason).await
}

impl Call {
    async fn revoke(
        self,
        caller: Authorised,
        key: KeyId,
        reason: Option<Reason>,
    ) -> Result<Response, Problem> {
        let began = Instant::now();
        let (app, keys) = (Arc::clone(&self.app), Arc::clone(&self.keys));
        let revoked = self.settle(async move { keys.revoke(&caller, key, reason).await }).await??;
        revoked.ok_or_else(no_such_key)?;
        app.metrics.revoked(began.elapsed());
        Ok(json_answer(StatusCode::OK, json(&Revoked::ANSWER)?))
    }
}

/// Why a key is revoked, out of a query. Whatever else is in it does not keep anybody from revoking.
fn reason(query: Option<&str>) -> Result<Option<Reason>, Problem> {
    let query = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut reasons = query.filter(|(name, _)| name == "reason");
    let reason = reasons.next().map(|(_, value)| value.parse::<Reason>()).transpose();
    let reason = reason.map_err(|invalid| Problem::invalid_request(invalid.to_string()))?;
    if reasons.next().is_some() {
        return Err(Problem::invalid_request("there is more than one reason"));
    }
    Ok(reason)
}
