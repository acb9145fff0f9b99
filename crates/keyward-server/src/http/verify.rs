//! What the keys are for: verification, by body and as a gateway's forward-auth endpoint.

use std::sync::LazyLock;

use keyward_core::id::WorkspaceId;
use keyward_core::key::ApiKey;
use keyward_core::scope::{Scope, Scopes};
use keyward_core::store::BoxError;
use keyward_core::verify::{Demands, Refusal, Verdict};
use tokio::time::Instant;
use uuid::Uuid;
use warp::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use warp::http::request::Parts;
use warp::http::{Method, Request, StatusCode};
use warp::hyper::body;
use warp::reply::{Reply as _, Response};

use super::body::{Body, BodyLimits};
use super::caller::{AtMostOne, bearer_token};
use super::metrics::Endpoint;
use super::problem::Problem;
use super::requests::VerifyKey;
use super::wire::{Verification, json};
use super::{App, in_time, json_answer, openapi};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const REQUIRE_SCOPE: HeaderName = HeaderName::from_static("x-keyward-require-scope");
const REQUIRE_WORKSPACE: HeaderName = HeaderName::from_static("x-keyward-require-workspace");
const KEY_ID: HeaderName = HeaderName::from_static("x-keyward-key-id");
const WORKSPACE_ID: HeaderName = HeaderName::from_static("x-keyward-workspace-id");
const ACCOUNT_ID: HeaderName = HeaderName::from_static("x-keyward-account-id");
const SCOPES: HeaderName = HeaderName::from_static("x-keyward-scopes");

/// Where one key is verified. Forward-auth is everything below its path too, on any method.
pub const VERIFICATION: &str = "/api/v1/api-keys/verify";
/// The path on which the query states demands. Below it the query is the end client's.
pub const FORWARD_AUTH: &str = "/api/v1/auth";

impl Endpoint {
    /// The endpoint at a path, where it is one of these.
    pub fn at(path: &str) -> Option<Self> {
        if let Some(below) = path.strip_prefix(FORWARD_AUTH) {
            (below.is_empty() || below.starts_with('/')).then_some(Self::ForwardAuth)
        } else {
            // A last slash is no difference to any route.
            (path.strip_suffix('/').unwrap_or(path) == VERIFICATION).then_some(Self::Verify)
        }
    }

    /// Answers a request to it.
    pub async fn answer<B>(self, app: &App, request: Request<B>) -> Result<Response, Problem>
    where
        B: body::Body<Error: Into<BoxError>> + Send + Sync + 'static,
    {
        let (head, content) = request.into_parts();
        match self {
            // The body is nobody's, and goes with the answer.
            Self::ForwardAuth => authenticate(app, &head).await,
            Self::Verify if head.method == Method::POST => {
                verify_key(app, &head, Body::of(content)).await
            }
            Self::Verify => Err(Problem::method_not_allowed("POST")),
        }
    }
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
async fn verify_key(app: &App, head: &Parts, mut body: Body) -> Result<Response, Problem> {
    let deadline = Instant::now() + app.limits.time;
    let limits = BodyLimits { bytes: app.limits.body, deadline };
    let read = body.read_json(&head.headers, limits).await;
    let wanted = VerifyKey::read(&body.done(&head.headers, read).await?)?;
    let demands =
        Demands { workspace: wanted.workspace_id, scopes: wanted.scopes.unwrap_or_default() };
    let verdict = match in_time(|| deadline, app.verifier.verify(&wanted.key)).await?? {
        Verdict::Accepted(key) => demands.judge(key),
        refused @ Verdict::Refused(_) => refused,
    };
    app.metrics.count(Endpoint::Verify, &verdict);
    Ok(json_answer(StatusCode::OK, json(&Verification::new(&verdict, wanted.include))?))
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
pub async fn authenticate(app: &App, head: &Parts) -> Result<Response, Problem> {
    if head.method == Method::CONNECT {
        return Err(Problem::method_not_allowed(
            "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE",
        ));
    }
    // The credential is judged before what is demanded of it.
    let said = Said::of(&head.headers);
    let deadline = || Instant::now() + app.limits.time;
    let verified = in_time(deadline, app.verifier.verify(said.presented_key()?)).await??;
    let (verdict, demands) = match verified {
        refused @ Verdict::Refused(_) => (refused, Demands::default()),
        Verdict::Accepted(key) => {
            let query = head.uri.query().filter(|_| head.uri.path() == FORWARD_AUTH);
            let demands = said.demands(query)?;
            (demands.judge(key), demands)
        }
    };
    app.metrics.count(Endpoint::ForwardAuth, &verdict);
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

/// What the headers of a forward-auth request say. They are gone through once: to look each of these up
/// in the map would cost more, and most of them are not there.
#[derive(Default)]
struct Said<'a> {
    authorization: AtMostOne<'a>,
    x_api_key: AtMostOne<'a>,
    scopes: Vec<&'a HeaderValue>,
    workspaces: Vec<&'a HeaderValue>,
}

impl<'a> Said<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut said = Self::default();
        for (name, value) in headers {
            if *name == AUTHORIZATION {
                said.authorization.add(value);
            } else if *name == X_API_KEY {
                said.x_api_key.add(value);
            } else if *name == REQUIRE_SCOPE {
                said.scopes.push(value);
            } else if *name == REQUIRE_WORKSPACE {
                said.workspaces.push(value);
            }
        }
        said
    }

    /// The key of either header. Two that differ are no credential: which one the gateway's upstream
    /// would believe cannot be known.
    fn presented_key(&self) -> Result<&'a str, Problem> {
        let authorization = self.authorization.text(&AUTHORIZATION)?;
        match (authorization.map(bearer_token).transpose()?, self.x_api_key.text(&X_API_KEY)?) {
            (None, None) => Err(Problem::missing_credential()),
            (Some(bearer), Some(key)) if bearer != key => Err(Problem::invalid_credential()),
            (Some(key), _) | (None, Some(key)) => Ok(key),
        }
    }

    /// What is demanded, by these headers and by the query.
    fn demands(&self, query: Option<&str>) -> Result<Demands, Problem> {
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
        for value in &self.scopes {
            scopes.extend(text(value)?.split_ascii_whitespace().map(str::to_owned));
        }
        for value in &self.workspaces {
            workspaces.push(text(value)?);
        }
        let scope = |text: &String| text.parse::<Scope>();
        let scopes: Scopes =
            scopes.iter().map(scope).collect::<Result<_, _>>().map_err(|invalid| {
                Problem::invalid_request(format!("a demanded scope is not valid: {invalid}"))
            })?;
        let workspace = match workspaces.as_slice() {
            [] => None,
            [one] => {
                Some(one.parse::<WorkspaceId>().map_err(|_| {
                    Problem::invalid_request("the demanded workspace is not a UUID")
                })?)
            }
            _ => return Err(Problem::invalid_request("the workspace is demanded more than once")),
        };
        Ok(Demands { workspace, scopes })
    }
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
