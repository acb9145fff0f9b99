//! The audit trail of a workspace.

use std::sync::Arc;

use keyward_core::audit::{Action, EventPosition, Recorded};
use keyward_core::caller::Authorised;
use keyward_core::id::{AccountId, KeyId};
use keyward_core::scope::Permission;
use keyward_core::store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;
use warp::filters::BoxedFilter;
use warp::http::header::HeaderMap;
use warp::reply::Response;
use warp::{Filter, path};

use super::caller::workspace;
use super::paging::{self, Listing, cursor, parameters, position};
use super::problem::Problem;
use super::wire::{ReasonWord, Time};
use super::{App, Call, answer, call, named, openapi, query};

/// `/api/v1/workspaces/{id}/audit-events`.
pub fn routes(app: &Arc<App>) -> BoxedFilter<(Response,)> {
    let events = path!("api" / "v1" / "workspaces" / String / "audit-events");
    let list = events
        .and(warp::get())
        .and(query())
        .and(warp::header::headers_cloned())
        .and(call(app))
        .then(list)
        .map(named("audit"));
    let no_events = events.map(|_| answer(Err(Problem::method_not_allowed("GET"))));
    list.or(no_events).unify().boxed()
}

/// List what was done to API keys
///
/// All events of the workspace, newest first; equal times by id. With a limit, that many of them, and
/// where there are more a link to those. An event is written in one step with what it tells of, and is
/// never changed or removed; its place in the chain that shows tampering follows within a second.
#[utoipa::path(
    get, path = "/api/v1/workspaces/{id}/audit-events", operation_id = "listAuditEvents", tag = "Audit",
    params(
        ("id" = uuid::Uuid, Path, description = "Workspace ID"),
        openapi::PageParameters,
        openapi::WorkspaceHeader,
    ),
    responses(
        (status = 200, description = "The events of the workspace", body = Vec<EventObject>, headers(
            ("Link" = String, description = "Where a limit was given and there are more events: the next page, as `rel=\"next\"`"),
        )),
        openapi::ListProblems,
    ),
    security(("token" = ["api_keys:read"]), ("api_key" = [])),
)]
async fn list(
    id: String,
    query: Option<String>,
    headers: HeaderMap,
    call: Call,
) -> Result<Response, Problem> {
    let caller = call.caller(&headers).await?;
    let workspace = workspace(&id, &headers)?;
    let (mut limit, mut after) = (None, None);
    parameters(query.as_deref().unwrap_or_default(), |name, value| {
        match name {
            "limit" => limit = Some(paging::limit(value)?),
            "cursor" => {
                let (at, id) = position(value)?;
                after = Some(EventPosition { at, id: id.into() });
            }
            _ => return Err("the query of this list knows limit and cursor"),
        }
        Ok(())
    })?;
    let caller = caller.authorise(workspace, Permission::Read)?;
    paging::answer(Events { caller, after }, limit, &headers, call).await
}

/// The events that are listed.
struct Events {
    caller: Authorised,
    after: Option<EventPosition>,
}

impl Listing for Events {
    type Item = Recorded;

    async fn read(
        &self,
        app: &App,
        after: Option<&Recorded>,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        let after = after.map(|it| EventPosition::from(&it.event)).or(self.after);
        app.keys.events(&self.caller, after, limit).await
    }

    fn write(&self, event: &Recorded, text: &mut Vec<u8>) -> serde_json::Result<()> {
        serde_json::to_writer(text, &EventObject::new(event))
    }

    fn next_page(&self, last: &Recorded, limit: usize) -> String {
        let workspace = self.caller.workspace();
        let cursor = cursor(last.event.at, last.event.id.as_uuid());
        format!("/api/v1/workspaces/{workspace}/audit-events?limit={limit}&cursor={cursor}")
    }
}

/// What was done to a key. Fields that do not apply are left out.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEvent)]
pub struct EventObject<'a> {
    /// Unique identifier.
    id: Uuid,
    /// Workspace the key belongs to.
    workspace_id: Uuid,
    /// What was done.
    #[schema(value_type = ActionWord)]
    action: &'static str,
    /// The key that it was done to.
    key_id: Uuid,
    /// When.
    #[schema(value_type = String, format = DateTime, example = "2024-01-15T09:30:00Z")]
    created_at: Time,
    /// Account that did it; left out where possession of the key was the proof.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    account_id: Option<Uuid>,
    /// The API key that was the credential, where it was one and not a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    credential_id: Option<Uuid>,
    /// Address that the request came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "192.0.2.7")]
    address: Option<String>,
    /// What the client said of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    user_agent: Option<&'a str>,
    /// The id of the request, which is in the logs too.
    #[schema(value_type = String)]
    request_id: &'a str,
    /// Which fields were changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, nullable = false)]
    fields: Option<Vec<&'a str>>,
    /// The key that was made in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>, nullable = false)]
    new_key_id: Option<&'a str>,
    /// Why it was revoked, where that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ReasonWord>, nullable = false)]
    reason: Option<&'a str>,
    /// Its place in the chain of the workspace, from 1 on, once it is sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    sequence: Option<u64>,
    /// The link there, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    hash: Option<String>,
}

/// The words for what was done to a key.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "a schema; the words themselves are keyward_core::audit::Action's")]
pub enum ActionWord {
    Created,
    Renamed,
    Changed,
    Rotated,
    Revoked,
}

impl<'a> EventObject<'a> {
    fn new(recorded: &'a Recorded) -> Self {
        let Recorded { event, link } = recorded;
        let detail = |action| event.detail.as_deref().filter(|_| event.action == action);
        Self {
            id: event.id.as_uuid(),
            workspace_id: event.workspace.as_uuid(),
            action: event.action.as_str(),
            key_id: event.key.as_uuid(),
            created_at: Time(event.at),
            account_id: event.account.as_ref().map(AccountId::as_uuid),
            credential_id: event.credential.as_ref().map(KeyId::as_uuid),
            address: event.origin.address.map(|address| address.to_string()),
            user_agent: event.origin.user_agent.as_deref(),
            request_id: &event.origin.request_id,
            fields: detail(Action::Changed).map(|fields| fields.split(' ').collect()),
            new_key_id: detail(Action::Rotated),
            reason: detail(Action::Revoked),
            sequence: link.map(|link| link.number),
            hash: link.map(|link| link.digits()),
        }
    }
}
