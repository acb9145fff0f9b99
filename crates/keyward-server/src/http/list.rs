//! The list of a workspace's keys.

use keyward_core::caller::Authorised;
use keyward_core::clock::Timestamp;
use keyward_core::key::{ApiKey, KeyName, Status};
use keyward_core::scope::Permission;
use keyward_core::store::{Filter, ListPosition, StoreError};
use warp::http::header::HeaderMap;
use warp::reply::Response;

use super::caller::workspace;
use super::paging::{self, Listing, cursor, parameters, position};
use super::problem::Problem;
use super::wire::KeyObject;
use super::{App, Call, openapi};

/// List all API keys
///
/// All keys of the workspace, newest first; equal times by id. The raw key is never among them. With
/// any parameter it also says when keys were last used, and of revoked ones when, by whom and why they
/// were revoked. With a limit, that many of them, and where there are more a link to those. Whatever is
/// created or revoked meanwhile, a key that is there throughout is on exactly one page.
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
    paging::answer(Keys { caller, filter, after, show }, limit, &headers, call).await
}

/// The keys that are listed.
struct Keys {
    caller: Authorised,
    filter: Filter,
    after: Option<ListPosition>,
    show: Show,
}

/// How records are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Show {
    Documented,
    Whole,
}

/// A key, and when it was last used; nothing where that is not shown.
struct Listed {
    key: ApiKey,
    last_use: Option<Timestamp>,
}

impl Listing for Keys {
    type Item = Listed;

    async fn read(
        &self,
        app: &App,
        after: Option<&Listed>,
        limit: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let after = after.map(|it| ListPosition::from(&it.key)).or(self.after);
        let keys = app.keys.list(&self.caller, &self.filter, after, limit).await?;
        let last_uses = match self.show {
            Show::Documented => Vec::new(),
            Show::Whole => app.keys.last_uses(&self.caller, &keys).await?,
        };
        let last_uses = last_uses.into_iter().chain(std::iter::repeat(None));
        Ok(keys
            .into_iter()
            .zip(last_uses)
            .map(|(key, last_use)| Listed { key, last_use })
            .collect())
    }

    fn write(&self, listed: &Listed, text: &mut Vec<u8>) -> serde_json::Result<()> {
        let Listed { key, last_use } = listed;
        let object = match self.show {
            Show::Documented => KeyObject::documented(key),
            Show::Whole => KeyObject::new(key).last_used(*last_use),
        };
        serde_json::to_writer(text, &object)
    }

    fn next_page(&self, last: &Listed, limit: usize) -> String {
        let last = &last.key;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &limit.to_string());
        query.append_pair("cursor", &cursor(last.created_at, last.id.as_uuid()));
        if let Some(status) = self.filter.status {
            query.append_pair("status", status.as_str());
        }
        if let Some(account) = self.filter.created_by {
            query.append_pair("created_by", &account.to_string());
        }
        if let Some(name) = &self.filter.name {
            query.append_pair("name", name.as_str());
        }
        let workspace = self.caller.workspace();
        format!("/api/v1/workspaces/{workspace}/api-keys?{}", query.finish())
    }
}

/// What the query of a list asks for.
#[derive(Debug, Default)]
struct Asked {
    filter: Filter,
    after: Option<ListPosition>,
    limit: Option<usize>,
}

impl Asked {
    fn read(query: &str) -> Result<Self, Problem> {
        let mut asked = Self::default();
        parameters(query, |name, value| {
            match name {
                "limit" => asked.limit = Some(paging::limit(value)?),
                "cursor" => {
                    let (created_at, id) = position(value)?;
                    asked.after = Some(ListPosition { created_at, id: id.into() });
                }
                "status" => asked.filter.status = Some(status(value)?),
                "created_by" => {
                    let account = value.parse().map_err(|_| "created_by is not a UUID")?;
                    asked.filter.created_by = Some(account);
                }
                "name" => {
                    let name = KeyName::new(value).map_err(|_| "name is not one of a key")?;
                    asked.filter.name = Some(name);
                }
                _ => {
                    return Err(
                        "the query of a list knows limit, cursor, status, created_by and name",
                    );
                }
            }
            Ok(())
        })?;
        Ok(asked)
    }
}

fn status(value: &str) -> Result<Status, &'static str> {
    let known = [Status::Active, Status::Revoked].into_iter().find(|it| it.as_str() == value);
    known.ok_or("status is active or revoked")
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

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
