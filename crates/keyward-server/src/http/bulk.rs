//! Many keys in one call: verified, revoked by whoever shows them, revoked by what they have in common.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use keyward_core::clock::Timestamp;
use keyward_core::scope::Permission;
use keyward_core::uses::unnoted_until;
use keyward_core::verify::{Demands, Verdict, VerifyError};
use tokio::time::{Instant, sleep, sleep_until};
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::http::header::HeaderMap;
use warp::reply::Response;
use warp::{Filter, path};

use super::body::{Body, body};
use super::caller::workspace;
use super::metrics::Endpoint;
use super::problem::{FieldError, Problem};
use super::requests::{RevokeDoomed, RevokePresented, VerifyKeys};
use super::wire::{Revoked, RevokedMany, Verification, Verifications, json};
use super::{App, Call, answer, call, json_answer, named, openapi};

/// Keys of one call that are looked up at a time: few of those that `--miss-concurrency` allows.
const AT_ONCE: usize = 16;
/// Keys of one call that are revoked at a time. They share commits.
const REVOKED_AT_ONCE: usize = 512;
/// Pause before a key is looked up again for which there was no room.
const TURN: Duration = Duration::from_millis(5);
/// The answer to a report of leaked keys comes no sooner than this, and what nodes may still answer
/// from memory: within it, those that were known are revoked.
const REPORT: Duration = Duration::from_millis(250);

/// Keys must have been unused for this long to be revoked for it. Nodes have noted uses that they have
/// not written yet: commonly of 10 s, and more where the storage was away.
const LEAST_UNUSED: Duration = Duration::from_hours(1);

/// `/api/v1/api-keys/verify-batch`, `/api/v1/api-keys/revoke` and
/// `/api/v1/workspaces/{id}/api-keys/revoke`.
pub fn routes(app: &Arc<App>) -> BoxedFilter<(Response,)> {
    let batch = path!("api" / "v1" / "api-keys" / "verify-batch");
    let presented = path!("api" / "v1" / "api-keys" / "revoke");
    let doomed = path!("api" / "v1" / "workspaces" / String / "api-keys" / "revoke");
    let headers = warp::header::headers_cloned;
    let verify = batch.and(warp::post()).and(headers()).and(body()).and(call(app));
    let verify = verify.then(verify_keys).map(answer);
    let revoke = presented.and(warp::post()).and(headers()).and(body()).and(call(app));
    let revoke = revoke.then(revoke_presented).map(named("revoke"));
    let revoke_many = doomed.and(warp::post()).and(headers()).and(body()).and(call(app));
    let revoke_many = revoke_many.then(revoke_doomed).map(named("revoke"));
    let no_verify = batch.map(|| answer(Err(Problem::method_not_allowed("POST"))));
    let no_revoke = presented.map(|| answer(Err(Problem::method_not_allowed("POST"))));
    let no_revoke_many = doomed.map(|_| answer(Err(Problem::method_not_allowed("POST"))));
    let verify = verify.or(no_verify).unify().boxed();
    let revoke = revoke.or(no_revoke).unify().boxed();
    let revoke_many = revoke_many.or(no_revoke_many).unify().boxed();
    verify.or(revoke).unify().or(revoke_many).unify().boxed()
}

/// Verify many API keys
///
/// Up to 1,000, of all of which the same is demanded. The results stand in the order of the keys. One
/// proof that what is remembered is up to date does for all of them.
#[utoipa::path(
    post, path = "/api/v1/api-keys/verify-batch", operation_id = "verifyApiKeys", tag = "Verification",
    request_body = VerifyKeys,
    responses(
        (status = 200, description = "The verdicts", body = Verifications),
        openapi::VerifyProblems,
    ),
)]
async fn verify_keys(headers: HeaderMap, mut body: Body, call: Call) -> Result<Response, Problem> {
    let read = body.read_json(&headers, call.body_limits()).await;
    call.verify_keys(&body.done(&headers, read).await?).await
}

impl Call {
    async fn verify_keys(&self, body: &[u8]) -> Result<Response, Problem> {
        let wanted = VerifyKeys::read(body)?;
        let demands =
            Demands { workspace: wanted.workspace_id, scopes: wanted.scopes.unwrap_or_default() };
        let (verifier, arrival) = (Arc::clone(&self.verifier), self.verifier.arrive());
        let each = stream::iter(wanted.keys).map(move |key| {
            let verifier = Arc::clone(&verifier);
            async move {
                loop {
                    match verifier.verify_from(&key, arrival).await {
                        // Others need their turn too; the deadline of the call ends this.
                        Err(VerifyError::TooManyLookups) => sleep(TURN).await,
                        outcome => return outcome,
                    }
                }
            }
        });
        let verdicts: Vec<Verdict> = self.in_time(each.buffered(AT_ONCE).try_collect()).await??;
        let judge = |verdict| match verdict {
            Verdict::Accepted(key) => demands.judge(key),
            refused @ Verdict::Refused(_) => refused,
        };
        let verdicts: Vec<Verdict> = verdicts.into_iter().map(judge).collect();
        for verdict in &verdicts {
            self.metrics.count(Endpoint::Verify, verdict);
        }
        let results = verdicts.iter().map(|it| Verification::new(it, wanted.include)).collect();
        Ok(json_answer(StatusCode::OK, json(&Verifications { results })?))
    }
}

/// Revoke API keys that leaked
///
/// Up to 100 raw keys, in the form that secret scanners post. Whoever has a key may revoke it; no other
/// credential is asked for. The answer is the same for keys that are unknown, malformed or revoked
/// already, and takes as long.
#[utoipa::path(
    post, path = "/api/v1/api-keys/revoke", operation_id = "revokeLeakedApiKeys", tag = "API keys",
    request_body = RevokePresented,
    responses(
        (status = 200, description = "Those that were known are revoked", body = Revoked),
        openapi::VerifyProblems,
    ),
)]
async fn revoke_presented(
    headers: HeaderMap,
    mut body: Body,
    call: Call,
) -> Result<Response, Problem> {
    let read = body.read_json(&headers, call.body_limits()).await;
    let bytes = body.done(&headers, read).await?;
    let RevokePresented { keys: presented } = RevokePresented::read(&bytes)?;
    let (keys, origin) = (Arc::clone(&call.keys), Arc::new(call.origin.clone()));
    let answered = Instant::now() + REPORT + call.barrier();
    let revoking = async move {
        // First of all, so that what is known is not told by who is refused.
        keys.can_change().await?;
        let each = stream::iter(presented).map(|presented| {
            let (keys, origin) = (Arc::clone(&keys), Arc::clone(&origin));
            async move { keys.revoke_presented(&presented, &origin).await }
        });
        // All of them, also when one fails: the others are not to stay good for its sake.
        let outcomes: Vec<_> = each.buffer_unordered(AT_ONCE).collect().await;
        keys.outlast().await?;
        sleep_until(answered).await;
        outcomes.into_iter().collect::<Result<(), _>>().map_err(Problem::from)
    };
    call.settle(revoking).await??;
    Ok(json_answer(StatusCode::OK, json(&Revoked::ANSWER)?))
}

impl Call {
    /// Fails where nobody could tell which keys are unused since that time.
    async fn can_tell_unused(&self, since: Timestamp) -> Result<(), Problem> {
        let detail = if !self.verifier.uses().are_noted() {
            "cannot be told: when keys are used is not kept here".into()
        } else if self.verifier.time().await?.since(since) < LEAST_UNUSED {
            "is less than an hour ago: what was used lately may not be known yet".into()
        } else {
            match unnoted_until(&*self.store).await? {
                Some(unnoted) if unnoted <= since => return Ok(()),
                Some(unnoted) => {
                    format!("is too early: what was used before {unnoted} was not kept").into()
                }
                None => "cannot be told: when keys were used was not kept".into(),
            }
        };
        let pointer = "/unused_since".into();
        Err(Problem::invalid_fields(vec![FieldError { pointer, detail }]))
    }
}

/// Revoke many API keys of a workspace
///
/// All active ones of which everything holds that the body says. Ask with `dry_run` first. Keys that
/// are created meanwhile may stay. Once this has answered, no node accepts any of them.
#[utoipa::path(
    post, path = "/api/v1/workspaces/{id}/api-keys/revoke", operation_id = "revokeApiKeys", tag = "API keys",
    params(("id" = uuid::Uuid, Path, description = "Workspace ID"), openapi::WorkspaceHeader),
    request_body = RevokeDoomed,
    responses(
        (status = 200, description = "How many keys are revoked, or with `dry_run` would be", body = RevokedMany),
        openapi::CreateProblems,
    ),
    security(("token" = ["api_keys:write"]), ("api_key" = [])),
)]
async fn revoke_doomed(
    id: String,
    headers: HeaderMap,
    mut body: Body,
    call: Call,
) -> Result<Response, Problem> {
    let read = async {
        let caller = call.caller(&headers).await?;
        let caller = caller.authorise(workspace(&id, &headers)?, Permission::Write)?;
        let wanted = RevokeDoomed::read(&body.read_json(&headers, call.body_limits()).await?)?;
        if let Some(since) = wanted.doomed.unused_since {
            call.in_time(call.can_tell_unused(since)).await??;
        }
        Ok((caller, wanted))
    };
    let read = read.await;
    let (caller, wanted) = body.done(&headers, read).await?;
    let (keys, dry_run, reason) = (Arc::clone(&call.keys), wanted.dry_run, wanted.reason);
    let revoking = async move {
        let doomed = keys.doomed(&caller, &wanted.doomed).await?;
        let count = doomed.len();
        if !dry_run {
            let (keys, caller) = (&keys, &caller);
            let each = stream::iter(doomed)
                .map(|id| async move { keys.revoke_one_of_many(caller, id, reason).await });
            let outcomes: Vec<_> = each.buffer_unordered(REVOKED_AT_ONCE).collect().await;
            keys.outlast().await?;
            outcomes.into_iter().collect::<Result<(), _>>()?;
        }
        Ok::<_, Problem>(count)
    };
    let count = call.settle(revoking).await??;
    Ok(json_answer(StatusCode::OK, json(&RevokedMany { dry_run, count })?))
}
