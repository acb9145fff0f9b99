//! Bodies: the objects of the documentation, how they are read and how they are written.

use bytes::Bytes;
use keyward_core::clock::Timestamp;
use keyward_core::id::WorkspaceId;
use keyward_core::key::{ApiKey, KeyName};
use keyward_core::scope::{Scope, Scopes};
use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::fields::{Fields, Invalid, string};
use super::problem::Problem;

/// An API key, as it is shown. Optional fields come last and are left out when unset.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub struct KeyObject<'a> {
    /// Unique identifier.
    id: Uuid,
    /// Workspace the key belongs to.
    workspace_id: Uuid,
    /// Display name.
    #[schema(value_type = String, example = "CI/CD Pipeline Key", min_length = 1, max_length = 255)]
    name: &'a str,
    /// The raw key. Only in the answer to its creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    key: Option<&'a str>,
    /// First characters of the key, for identification.
    #[schema(value_type = String, example = "sk_live_abc1")]
    key_prefix: &'a str,
    /// `active` or `revoked`.
    #[schema(value_type = StatusWord)]
    status: &'static str,
    /// Account that created the key.
    created_by: Uuid,
    /// When the key was created.
    #[schema(value_type = String, format = DateTime, example = "2024-01-15T09:30:00Z")]
    created_at: Time,
    /// When the key last changed.
    #[schema(value_type = String, format = DateTime, example = "2024-01-15T09:30:00Z")]
    updated_at: Time,
    /// The scopes that were named at creation. A key created without any holds `api_keys:read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, nullable = false)]
    scopes: Option<ScopeList<'a>>,
}

/// The words of a key's status.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "a schema; the words themselves are keyward_core::key::Status's")]
pub enum StatusWord {
    Active,
    Revoked,
}

struct Time(Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.encode(&mut [0; Timestamp::TEXT_LEN]))
    }
}

struct ScopeList<'a>(&'a Scopes);

impl Serialize for ScopeList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Scope::as_str))
    }
}

impl<'a> KeyObject<'a> {
    /// The key as lists and verifications show it.
    pub fn new(key: &'a ApiKey) -> Self {
        Self {
            id: key.id.as_uuid(),
            workspace_id: key.workspace_id.as_uuid(),
            name: key.name.as_str(),
            key: None,
            key_prefix: key.key_prefix.as_str(),
            status: key.status.as_str(),
            created_by: key.created_by.as_uuid(),
            created_at: Time(key.created_at),
            updated_at: Time(key.updated_at),
            scopes: key.named_scopes.as_ref().map(ScopeList),
        }
    }

    /// The key as the answer to its creation shows it, this once.
    pub fn revealed(key: &'a ApiKey, secret: &'a str) -> Self {
        Self { key: Some(secret), ..Self::new(key) }
    }
}

/// What a new key is to be.
#[derive(ToSchema)]
#[schema(as = CreateApiKey)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// Display name for the API key: 1 to 255 characters after trimming, no control characters.
    #[schema(value_type = String, example = "CI/CD Pipeline Key", min_length = 1, max_length = 255)]
    pub name: KeyName,
    /// What the key may do. Left out: `["api_keys:read"]`, cut to what the caller holds.
    #[schema(value_type = Option<Vec<String>>, nullable = false, max_items = 32)]
    pub scopes: Option<Scopes>,
}

impl CreateKey {
    /// Reads the body of a creation.
    pub fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body)?;
        let name = fields.required("name", |value| {
            KeyName::new(string(value)?).map_err(|invalid| Invalid::here(invalid.to_string()))
        });
        let scopes = fields.optional("scopes", scopes);
        fields.finish()?;
        // Both are there unless an error was noted, and then `finish` has returned it.
        match name {
            Some(name) => Ok(Self { name, scopes }),
            None => Err(Problem::invalid_fields(Vec::new())),
        }
    }
}

/// A key to be verified, and what it must be good for.
#[derive(ToSchema)]
#[schema(as = VerifyApiKey)]
#[serde(deny_unknown_fields)]
pub struct VerifyKey {
    /// The raw key that was presented.
    #[schema(value_type = String)]
    pub key: Zeroizing<String>,
    /// Scopes that the key must hold, all of them.
    #[schema(value_type = Option<Vec<String>>, nullable = false, max_items = 32)]
    pub scopes: Option<Scopes>,
    /// The workspace that the key must belong to.
    #[schema(value_type = Option<Uuid>, nullable = false)]
    pub workspace_id: Option<WorkspaceId>,
}

impl VerifyKey {
    /// Reads the body of a verification.
    pub fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body)?;
        let key =
            fields.required("key", |value| string(value).map(|key| Zeroizing::new(key.into())));
        let scopes = fields.optional("scopes", scopes);
        let workspace_id = fields.optional("workspace_id", |value| {
            string(value)?.parse().map_err(|_| Invalid::here("is not a UUID"))
        });
        fields.finish()?;
        match key {
            Some(key) => Ok(Self { key, scopes, workspace_id }),
            None => Err(Problem::invalid_fields(Vec::new())),
        }
    }
}

/// The verdict on a presented key.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Verification<'a> {
    /// The key is good.
    Valid {
        #[schema(example = true)]
        valid: bool,
        key: KeyObject<'a>,
    },
    /// The key is not good.
    Invalid {
        #[schema(example = false)]
        valid: bool,
        /// Why not.
        #[schema(value_type = RefusalCode)]
        code: &'static str,
    },
}

/// Why a key is not good.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "a schema; the words themselves are keyward_core::verify::Refusal's")]
pub enum RefusalCode {
    Malformed,
    Unknown,
    Revoked,
    Expired,
    InsufficientScope,
    WrongWorkspace,
}

/// The answer to a revocation.
#[derive(Serialize, ToSchema)]
pub struct Revoked {
    #[schema(value_type = StatusWord, example = "revoked")]
    status: &'static str,
}

impl Revoked {
    /// The one there is.
    pub const ANSWER: Self = Self { status: "revoked" };
}

fn scopes(value: &Value) -> Result<Scopes, Invalid> {
    let list = value.as_array().ok_or_else(|| Invalid::here("must be an array of strings"))?;
    let scope = |(at, value): (usize, &Value)| {
        string(value)
            .and_then(|text| text.parse::<Scope>().map_err(|e| Invalid::here(e.to_string())))
            .map_err(|invalid| Invalid { below: format!("/{at}"), ..invalid })
    };
    let scopes: Scopes = list.iter().enumerate().map(scope).collect::<Result<_, _>>()?;
    scopes.within_limit().map_err(|error| Invalid::here(error.to_string()))
}

/// What an object commonly takes as JSON, to size buffers by.
pub const OBJECT_BYTES: usize = 512;

/// Writes a value as JSON.
pub fn json(value: &impl Serialize) -> Result<Bytes, Problem> {
    let mut text = Vec::with_capacity(OBJECT_BYTES);
    serde_json::to_writer(&mut text, value).map_err(Problem::internal)?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> Vec<String> {
        match CreateKey::read(body.as_bytes()) {
            Ok(_) => Vec::new(),
            Err(problem) => {
                let answer = serde_json::to_value(problem.field_errors()).unwrap();
                let line = |e: &Value| format!("{} {}", e["pointer"], e["detail"]).replace('"', "");
                answer.as_array().unwrap().iter().map(line).collect()
            }
        }
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let errors = refused(r#"{"name":5,"scopes":["a",7],"exires_at":1,"a/b":0}"#);
        assert_eq!(
            errors,
            [
                "/name must be a string",
                "/scopes/1 must be a string",
                "/exires_at is not a field of this request, or is there twice",
                "/a~1b is not a field of this request, or is there twice",
            ]
        );
    }

    #[test]
    fn a_field_that_is_there_twice_is_refused() {
        let errors = refused(r#"{"name":"a","name":"b"}"#);
        assert_eq!(errors, ["/name is not a field of this request, or is there twice"]);
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for body in [
            "",
            "[]",
            "null",
            "\"a\"",
            "{\"name\":\"a\"",
            "{\"name\":\"a\"} x",
            "{\"name\":\"\\ud800\"}",
        ] {
            assert!(CreateKey::read(body.as_bytes()).is_err(), "{body}");
        }
        let deep = format!("{{\"name\":{}", "[".repeat(10_000));
        assert!(CreateKey::read(deep.as_bytes()).is_err());
    }

    #[test]
    fn no_secret_is_repeated() {
        let key = "sk_live_0123456789012345678901234567890123456789012abcdef";
        for body in [
            format!(r#"{{"name":"a","{key}":1}}"#),
            format!(r#"{{"name":["{key}"]}}"#),
            format!(r#"{{"name":"a","scopes":"{key}"}}"#),
            format!(r#"{{"name":"a","scopes":["{key}"#),
        ] {
            let problem = CreateKey::read(body.as_bytes()).err().unwrap();
            assert!(!format!("{problem:?}").contains(key), "{problem:?}");
        }
    }
}
