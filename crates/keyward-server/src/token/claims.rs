//! What a token must say, once its signature is good.

use std::time::Duration;

use keyward_core::caller::{Caller, Credential};
use keyward_core::clock::Timestamp;
use keyward_core::id::{AccountId, WorkspaceId};
use keyward_core::scope::{Scope, Scopes};
use serde_json::{Map, Value};

/// The claims of a token: any JSON object.
pub type Claims = Map<String, Value>;

/// How far the clocks of whoever signs tokens and of this machine may be apart.
const LEEWAY: Duration = Duration::from_secs(5);

/// What an identity provider calls the claims that describe a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimNames {
    /// Who the caller is: any text that is stable, one for each account.
    pub account: String,
    /// The list of the workspaces that it may act in.
    pub workspaces: String,
    /// What it may do there: text with spaces between the scopes, or a list.
    pub scope: String,
}

/// The names that RFC 9068 gives, and `workspaces`.
impl Default for ClaimNames {
    fn default() -> Self {
        Self { account: "sub".into(), workspaces: "workspaces".into(), scope: "scope".into() }
    }
}

/// What one issuer's tokens must say.
pub struct Rules {
    /// The one `iss`.
    pub issuer: String,
    /// What must be the `aud`, or among them.
    pub audience: String,
    /// Where the token says the rest.
    pub names: ClaimNames,
}

impl Rules {
    /// The caller that these claims describe at the moment `now`, or why they describe none.
    pub fn judge(&self, claims: &Claims, now: Timestamp) -> Result<Caller, &'static str> {
        self.judge_parties(claims)?;
        judge_times(claims, now)?;
        let subject = claims.get(&self.names.account).and_then(Value::as_str).unwrap_or_default();
        if subject.is_empty() {
            return Err("it names no account");
        }
        Ok(Caller {
            account: AccountId::from_subject(&self.issuer, subject),
            workspaces: workspaces(claims.get(&self.names.workspaces))?,
            scopes: scopes(claims.get(&self.names.scope))?,
            credential: Credential::Token,
        })
    }

    fn judge_parties(&self, claims: &Claims) -> Result<(), &'static str> {
        if claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err("it is not from the issuer");
        }
        let for_us = match claims.get("aud") {
            Some(Value::String(audience)) => *audience == self.audience,
            Some(Value::Array(audiences)) => {
                audiences.iter().any(|audience| audience.as_str() == Some(&self.audience))
            }
            _ => false,
        };
        if for_us { Ok(()) } else { Err("it is not for this audience") }
    }
}

fn judge_times(claims: &Claims, now: Timestamp) -> Result<(), &'static str> {
    let leeway = i64::try_from(LEEWAY.as_micros()).unwrap_or(0);
    let now = now.as_micros();
    let end = claims.get("exp").and_then(micros).ok_or("it has no end")?;
    if now >= end.saturating_add(leeway) {
        return Err("it has expired");
    }
    let beginning = match claims.get("nbf") {
        None => return Ok(()),
        Some(value) => micros(value).ok_or("its beginning is no time")?,
    };
    if now < beginning.saturating_sub(leeway) { Err("it is not valid yet") } else { Ok(()) }
}

/// The microseconds since 1970 of a `NumericDate` (RFC 7519, section 2), which counts seconds and
/// may have a fraction. Times beyond what 64 bits hold become the last that they do.
fn micros(date: &Value) -> Option<i64> {
    if let Some(seconds) = date.as_i64() {
        return Some(seconds.saturating_mul(1_000_000));
    }
    let seconds = date.as_f64().filter(|seconds| seconds.is_finite())?;
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, as it should")]
    Some((seconds * 1e6) as i64)
}

/// A caller without workspaces is a caller still: it is told that it may not, rather than that it
/// is nobody. But an entry that is no id means that we misunderstand the token.
fn workspaces(claim: Option<&Value>) -> Result<Vec<WorkspaceId>, &'static str> {
    let entries = match claim {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err("its workspaces are no list"),
    };
    entries
        .iter()
        .map(|entry| entry.as_str().and_then(|id| id.parse().ok()))
        .collect::<Option<_>>()
        .ok_or("one of its workspaces is no id")
}

fn scopes(claim: Option<&Value>) -> Result<Scopes, &'static str> {
    match claim {
        None | Some(Value::Null) => Ok(Scopes::default()),
        Some(Value::String(scopes)) => Ok(Scopes::from_claim(scopes)),
        Some(Value::Array(entries)) => {
            let texts: Option<Vec<&str>> = entries.iter().map(Value::as_str).collect();
            let texts = texts.ok_or("one of its scopes is no text")?;
            Ok(texts.iter().filter_map(|text| text.parse::<Scope>().ok()).collect())
        }
        Some(_) => Err("its scope is neither a text nor a list"),
    }
}
