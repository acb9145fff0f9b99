//! What the keys are for: verification, by body and as a gateway's forward-auth endpoint.

use std::sync::{Arc, LazyLock};

use keyward_core::id::WorkspaceId;
use keyward_core::key::ApiKey;
use keyward_core::scope::{Scope, Scopes};
use keyward_core::verify::{Demands, Refusal, Verdict};
use uuid::Uuid;
use warp::filters::BoxedFilter;
use warp::http::header::{HeaderMap, HeaderName, HeaderValue};
use warp::http::{Method, StatusCode};
use warp::path::FullPath;
use warp::reply::{Reply as _, Response};
use warp::{Filter, path};

use super::body::{Body, body};
use super::caller::{bearer, single};
use super::metrics::Endpoint;
use super::problem::Problem;
use super::requests::VerifyKey;
use super::wire::{Verification, json};
use super::{App, Call, answer, call, json_answer, openapi, query};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const REQUIRE_SCOPE: HeaderName = HeaderName::from_static("x-keyward-require-scope");
const REQUIRE_WORKSPACE: HeaderName = HeaderName::from_static("x-keyward-require-workspace");
const KEY_ID: HeaderName = HeaderName::from_static("x-keyward-key-id");
const WORKSPACE_ID: HeaderName = HeaderName::from_static("x-keyward-workspace-id");
const ACCOUNT_ID: HeaderName = HeaderName::from_static("x-keyward-account-id");
const SCOPES: HeaderName = HeaderName::from_static("x-keyward-scopes");

/// The path on which the query states demands. Below it the query is the end client's.
pub const FORWARD_AUTH: &str = "/api/v1/auth";

/// `/api/v1/auth` and everything below it: the hot path of the whole server, and the one filter that
/// is not boxed.
pub fn forward_auth(
    app: &Arc<App>,
) -> impl Filter<Extract = (Response,), Error = warp::Rejection> + Clone + use<> {
    path!("api" / "v1" / "auth" / ..)
        .and(warp::method())
        .and(path::full())
        .and(query())
        .and(warp::header::headers_cloned())
        .and(call(app))
        .then(authenticate)
        .map(answer)
}

/// `/api/v1/api-keys/verify`.
pub fn verification(app: &Arc<App>) -> BoxedFilter<(Response,)> {
    let verify = path!("api" / "v1" / "api-keys" / "verify");
    let post = verify
        .and(warp::post())
        .and(warp::header::headers_cloned())
        .and(body())
        .and(call(app))
        .then(verify_key);
    let other = verify.map(|| Err(Problem::method_not_allowed("POST")));
    post.or(other).unify().map(answer).boxed()
}

/// Verify an API key
///
/// The presented key is the credential; no other is asked for. A key that is not good is no error:
/// the answer is 200 and says why.
#[utoipa::path(
    post, path = "/api/v1/api-keys/verify", operation_id = "verifyApiKey", tag = "Verification",
    request_body = VerifyKey,
    responses(
        (status = 200, description = "The verdict", body = Verification),
        openapi::VerifyProblems,
    ),
)]
async fn verify_key(headers: HeaderMap, mut body: Body, call: Call) -> Result<Response, Problem> {
    let read = body.read_json(&headers, call.body_limits()).await;
    call.verify_key(&body.done(&headers, read).await?).await
}

impl Call {
    async fn verify_key(&self, body: &[u8]) -> Result<Response, Problem> {
        let wanted = VerifyKey::read(body)?;
        let demands =
            Demands { workspace: wanted.workspace_id, scopes: wanted.scopes.unwrap_or_default() };
        let verdict = match self.verdict(&wanted.key).await? {
            Verdict::Accepted(key) => demands.judge(key),
            refused @ Verdict::Refused(_) => refused,
        };
        self.metrics.count(Endpoint::Verify, &verdict);
        Ok(json_answer(StatusCode::OK, json(&Verification::new(&verdict, wanted.include))?))
    }

    /// The verdict on a key of which nothing is demanded yet.
    async fn verdict(&self, presented: &str) -> Result<Verdict, Problem> {
        Ok(self.in_time(self.verifier.verify(presented)).await??)
    }
}

/// Authenticate a request for a gateway
///
/// For nginx `auth_request`, Caddy and Traefik forward auth, and Envoy `ext_authz`, on any method
/// but CONNECT. Any path below answers too; there the query is the end client's and counts for
/// nothing.
#[utoipa::path(
    get, path = "/api/v1/auth", operation_id = "forwardAuth", tag = "Verification",
    params(openapi::DemandParameters),
    responses(
        (status = 200, description = "The key is good and meets the demands", headers(
            ("X-Keyward-Key-Id" = uuid::Uuid, description = "The key"),
            ("X-Keyward-Workspace-Id" = uuid::Uuid, description = "Its workspace"),
            ("X-Keyward-Account-Id" = uuid::Uuid, description = "The account that it acts for"),
            ("X-Keyward-Scopes" = String, description = "What it may do, separated by spaces"),
        )),
        openapi::ForwardAuthProblems,
    ),
    security(("api_key" = []), ("api_key_header" = [])),
)]
async fn authenticate(
    method: Method,
    path: FullPath,
    query: Option<String>,
    headers: HeaderMap,
    call: Call,
) -> Result<Response, Problem> {
    if method == Method::CONNECT {
        return Err(Problem::method_not_allowed(
            "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE",
        ));
    }
    // The credential is judged before what is demanded of it.
    let (verdict, demands) = match call.verdict(presented_key(&headers)?).await? {
        refused @ Verdict::Refused(_) => (refused, Demands::default()),
        Verdict::Accepted(key) => {
            let query = query.as_deref().filter(|_| path.as_str() == FORWARD_AUTH);
            let demands = demands(query, &headers)?;
            (demands.judge(key), demands)
        }
    };
    call.metrics.count(Endpoint::ForwardAuth, &verdict);
    match verdict {
        Verdict::Accepted(key) => Ok(identity(&key)),
        Verdict::Refused(Refusal::WrongWorkspace) => Err(Problem::wrong_workspace()),
        Verdict::Refused(Refusal::InsufficientScope) => {
            let scopes = demands.scopes.to_string();
            Err(Problem::insufficient_scope("the key lacks a scope that is demanded", &scopes))
        }
        Verdict::Refused(_) => Err(Problem::invalid_credential()),
    }
}

/// The key of either header. Two that differ are no credential: which one the gateway's upstream
/// would believe cannot be known.
fn presented_key(headers: &HeaderMap) -> Result<&str, Problem> {
    match (bearer(headers)?, single(headers, &X_API_KEY)?) {
        (None, None) => Err(Problem::missing_credential()),
        (Some(bearer), Some(key)) if bearer != key => Err(Problem::invalid_credential()),
        (Some(key), _) | (None, Some(key)) => Ok(key),
    }
}

fn demands(query: Option<&str>, headers: &HeaderMap) -> Result<Demands, Problem> {
    let mut scopes = Vec::new();
    let mut workspaces = Vec::new();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "scope" => scopes.push(value.into_owned()),
            "workspace" => workspaces.push(value.into_owned()),
            // A misspelt demand must not silently demand nothing.
            _ => {
                return Err(Problem::invalid_request(
                    "the query knows scope and workspace; a client's own query belongs below this path",
                ));
            }
        }
    }
    let text = |value: &HeaderValue| {
        let text = value.to_str().map(str::to_owned);
        text.map_err(|_| Problem::invalid_request("a demand is not visible ASCII text"))
    };
    for value in headers.get_all(&REQUIRE_SCOPE) {
        scopes.extend(text(value)?.split_ascii_whitespace().map(str::to_owned));
    }
    for value in headers.get_all(&REQUIRE_WORKSPACE) {
        workspaces.push(text(value)?);
    }
    let scope = |text: &String| text.parse::<Scope>();
    let scopes: Scopes = scopes.iter().map(scope).collect::<Result<_, _>>().map_err(|invalid| {
        Problem::invalid_request(format!("a demanded scope is not valid: {invalid}"))
    })?;
    let workspace = match workspaces.as_slice() {
        [] => None,
        [one] => Some(
            one.parse::<WorkspaceId>()
                .map_err(|_| Problem::invalid_request("the demanded workspace is not a UUID"))?,
        ),
        _ => return Err(Problem::invalid_request("the workspace is demanded more than once")),
    };
    Ok(Demands { workspace, scopes })
}

/// The answer that lets a request in, and says to the upstream whose it is.
fn identity(key: &ApiKey) -> Response {
    static DEFAULT_SCOPES: LazyLock<HeaderValue> =
        LazyLock::new(|| header(&Scopes::default_for_keys().to_string()));

    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    // With those of the front and of the connection, so that the map is made once.
    headers.reserve(8);
    headers.insert(KEY_ID, id_header(key.id.as_uuid()));
    headers.insert(WORKSPACE_ID, id_header(key.workspace_id.as_uuid()));
    headers.insert(ACCOUNT_ID, id_header(key.created_by.as_uuid()));
    let scopes = match &key.named_scopes {
        None => DEFAULT_SCOPES.clone(),
        Some(scopes) => header(&scopes.to_string()),
    };
    headers.insert(SCOPES, scopes);
    response
}

fn id_header(id: Uuid) -> HeaderValue {
    header(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}

/// Ids and scopes are visible ASCII; were one ever not, it would be left empty.
fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
