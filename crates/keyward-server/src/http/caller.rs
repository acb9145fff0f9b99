//! Who calls: credentials out of headers.

use keyward_core::caller::Caller;
use keyward_core::id::WorkspaceId;
use keyward_core::verify::Verdict;
use warp::http::header::AUTHORIZATION;
use warp::http::{HeaderMap, HeaderName, HeaderValue};

use super::Call;
use super::problem::Problem;
use crate::token::TokenError;

/// The header that may repeat the workspace of the path.
const X_WORKSPACE_ID: HeaderName = HeaderName::from_static("x-workspace-id");

/// What was found of a header that may be there once at most.
#[derive(Default)]
pub struct AtMostOne<'a> {
    value: Option<&'a HeaderValue>,
    repeats: bool,
}

impl<'a> AtMostOne<'a> {
    /// Adds a value that was found.
    pub fn add(&mut self, value: &'a HeaderValue) {
        self.repeats = self.value.replace(value).is_some();
    }

    /// The text of the value, where there is one.
    pub fn text(&self, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
        if self.repeats {
            let detail = format!("the header {name} is there more than once");
            return Err(Problem::invalid_request(detail));
        }
        self.value.map(HeaderValue::to_str).transpose().map_err(|_| {
            Problem::invalid_request(format!("the header {name} is not visible ASCII text"))
        })
    }
}

/// The one value of a header that may be there once at most.
pub fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut found = AtMostOne::default();
    headers.get_all(name).iter().for_each(|value| found.add(value));
    found.text(name)
}

/// The token of a header's value `Bearer <token>` (RFC 6750, section 2.1). Another scheme is a
/// malformed credential.
pub fn bearer_token(value: &str) -> Result<&str, Problem> {
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(Problem::invalid_credential()),
    }
}

impl Call {
    /// Authenticates the caller of a management route: by a token, or by an API key.
    pub async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let authorization = single(headers, &AUTHORIZATION)?;
        let credential = bearer_token(authorization.ok_or_else(Problem::missing_credential)?)?;
        // A JWT has dots between its parts (RFC 7515, section 7.1), a key never has one.
        let caller = if credential.contains('.') {
            let token = self.in_time(self.tokens.authenticate(credential)).await?;
            token.map_err(|error| match error {
                TokenError::Invalid => Problem::invalid_credential(),
                TokenError::Unavailable => {
                    Problem::unavailable("the identity provider's keys are not there")
                }
            })?
        } else {
            match self.in_time(self.verifier.verify(credential)).await?? {
                Verdict::Accepted(key) => Caller::from_key(&key),
                Verdict::Refused(_) => return Err(Problem::invalid_credential()),
            }
        };
        Ok(Caller { origin: self.origin.clone(), ..caller })
    }
}

/// The workspace of a path. The header that may repeat it must agree.
pub fn workspace(segment: &str, headers: &HeaderMap) -> Result<WorkspaceId, Problem> {
    let workspace: WorkspaceId = segment
        .parse()
        .map_err(|_| Problem::invalid_request("the workspace id in the path is not a UUID"))?;
    match single(headers, &X_WORKSPACE_ID)? {
        None => Ok(workspace),
        Some(text) if text.parse() == Ok(workspace) => Ok(workspace),
        Some(_) => {
            Err(Problem::invalid_request("X-Workspace-ID is not the workspace id of the path"))
        }
    }
}
