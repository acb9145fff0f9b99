//! Bodies of requests: what they may hold, and how they are read.

use std::time::Duration;

use keyward_core::clock::Timestamp;
use keyward_core::details::{Description, InvalidReason, Metadata, Reason};
use keyward_core::id::{AccountId, WorkspaceId};
use keyward_core::key::KeyName;
use keyward_core::revoke::Doomed;
use keyward_core::scope::Scopes;
use keyward_core::service::{NewKey, Wanted};
use serde_json::Value;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::fields::{
    Fields, Invalid, boolean, description, id, keys, metadata, name, or_null, scopes, string, time,
};
use super::grammar::{self, ScopeText};
use super::problem::{Kind, Problem};

/// What a new key is to be.
#[derive(ToSchema)]
#[schema(as = CreateApiKey)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "a schema; what is read is a keyward_core::service::NewKey")]
pub struct CreateKey {
    /// Display name for the API key: 1 to 255 characters after trimming, no control characters.
    #[schema(value_type = String, example = "CI/CD Pipeline Key", min_length = 1, max_length = 255)]
    name: KeyName,
    /// What the key may do. Left out: `["api_keys:read"]`, cut to what the caller holds.
    #[schema(value_type = Option<Vec<ScopeText>>, nullable = false, max_items = 32)]
    scopes: Option<Scopes>,
    /// What it is for: 1 to 1,000 characters after trimming, of control characters only line feeds
    /// and tabs.
    #[schema(value_type = Option<String>, nullable = false, min_length = 1, max_length = 1000)]
    description: Option<Description>,
    /// What to attach to it: up to 32 texts with names of up to 64 bytes, 4 KiB in all.
    #[schema(schema_with = grammar::metadata, required = false)]
    metadata: Option<Metadata>,
    /// From when on it is to be refused: a time in the future, RFC 3339.
    #[schema(value_type = Option<String>, nullable = false, format = DateTime)]
    expires_at: Option<Timestamp>,
}

impl CreateKey {
    /// Reads the body of a creation.
    pub fn read(body: &[u8]) -> Result<NewKey, Problem> {
        let mut fields = Fields::parse(body)?;
        let name = fields.required("name", name);
        let scopes = fields.optional("scopes", scopes);
        let description = fields.optional("description", description);
        let metadata = fields.optional("metadata", metadata).unwrap_or_default();
        let expires_at = fields.optional("expires_at", time);
        fields.finish()?;
        // It is there unless an error was noted, and then `finish` has returned it.
        match name {
            Some(name) => Ok(NewKey { name, scopes, description, metadata, expires_at }),
            None => Err(Problem::invalid_fields(Vec::new())),
        }
    }
}

/// What is to be another of a key. What is left out stays as it is.
#[derive(ToSchema)]
#[schema(as = EditApiKey)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "a schema; what is read is a keyward_core::service::Wanted")]
pub struct EditKey {
    /// The new display name.
    #[schema(value_type = Option<String>, nullable = false, min_length = 1, max_length = 255)]
    name: Option<KeyName>,
    /// What the key may do from now on.
    #[schema(value_type = Option<Vec<ScopeText>>, nullable = false, max_items = 32)]
    scopes: Option<Scopes>,
    /// What it is for; null for nothing.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 1000)]
    description: Option<Description>,
    /// What is attached to it, in the place of all that was; null for nothing.
    #[schema(schema_with = grammar::metadata_or_null, required = false)]
    metadata: Option<Metadata>,
    /// From when on it is to be refused; null for never.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

impl EditKey {
    /// Reads the body of a change.
    pub fn read(body: &[u8]) -> Result<Wanted, Problem> {
        let mut fields = Fields::parse(body)?;
        let wanted = Wanted {
            name: fields.optional("name", name),
            scopes: fields.optional("scopes", scopes),
            description: fields.optional("description", |value| or_null(value, description)),
            metadata: fields
                .optional("metadata", |value| Ok(or_null(value, metadata)?.unwrap_or_default())),
            expires_at: fields.optional("expires_at", |value| or_null(value, time)),
        };
        fields.finish()?;
        Ok(wanted)
    }
}

/// How a key is to be rotated.
#[derive(ToSchema)]
#[schema(as = RotateApiKey)]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// Seconds for which the old key stays good beside the new one, unless it ends sooner. With 0,
    /// which is the default, it is revoked at once.
    #[schema(value_type = Option<u32>, nullable = false, maximum = 604_800)]
    pub grace_seconds: Duration,
}

impl RotateKey {
    /// The longest grace, in seconds: a week.
    const LONGEST: u64 = 604_800;

    /// Reads the body of a rotation.
    pub fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body)?;
        let grace = fields.optional("grace_seconds", |value| {
            let seconds = value.as_u64().filter(|&it| it <= Self::LONGEST);
            seconds.ok_or_else(|| Invalid::here("must be a whole number from 0 to 604800"))
        });
        fields.finish()?;
        Ok(Self { grace_seconds: Duration::from_secs(grace.unwrap_or(0)) })
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
    #[schema(value_type = Option<Vec<ScopeText>>, nullable = false, max_items = 32)]
    pub scopes: Option<Scopes>,
    /// The workspace that the key must belong to.
    #[schema(value_type = Option<Uuid>, nullable = false)]
    pub workspace_id: Option<WorkspaceId>,
    /// What is to be handed back of what was written about the key.
    #[schema(value_type = Option<Vec<IncludeWord>>, nullable = false)]
    pub include: Include,
}

/// What a verification hands back of what was written about a key.
#[derive(Debug, Clone, Copy, Default)]
pub struct Include {
    /// Its description.
    pub description: bool,
    /// Its metadata.
    pub metadata: bool,
}

/// The words for that.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "a schema; the words themselves are read below")]
pub enum IncludeWord {
    Description,
    Metadata,
}

impl VerifyKey {
    /// Reads the body of a verification.
    pub fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body)?;
        let key =
            fields.required("key", |value| string(value).map(|key| Zeroizing::new(key.into())));
        let scopes = fields.optional("scopes", scopes);
        let workspace_id = fields.optional("workspace_id", id);
        let include = fields.optional("include", include).unwrap_or_default();
        fields.finish()?;
        match key {
            Some(key) => Ok(Self { key, scopes, workspace_id, include }),
            None => Err(Problem::invalid_fields(Vec::new())),
        }
    }
}

/// Keys to be verified, and what all of them must be good for.
#[derive(ToSchema)]
#[schema(as = VerifyApiKeys)]
#[serde(deny_unknown_fields)]
pub struct VerifyKeys {
    /// The raw keys that were presented.
    #[schema(value_type = Vec<String>, max_items = 1000)]
    pub keys: Vec<Zeroizing<String>>,
    /// Scopes that each key must hold, all of them.
    #[schema(value_type = Option<Vec<ScopeText>>, nullable = false, max_items = 32)]
    pub scopes: Option<Scopes>,
    /// The workspace that each key must belong to.
    #[schema(value_type = Option<Uuid>, nullable = false)]
    pub workspace_id: Option<WorkspaceId>,
    /// What is to be handed back of what was written about the keys.
    #[schema(value_type = Option<Vec<IncludeWord>>, nullable = false)]
    pub include: Include,
}

impl VerifyKeys {
    /// Reads the body of a verification.
    pub fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body)?;
        let keys = fields.required("keys", |value| keys(value, 1_000));
        let scopes = fields.optional("scopes", scopes);
        let workspace_id = fields.optional("workspace_id", id);
        let include = fields.optional("include", include).unwrap_or_default();
        fields.finish()?;
        Ok(Self { keys: keys.unwrap_or_default(), scopes, workspace_id, include })
    }
}

/// Keys that leaked.
#[derive(ToSchema)]
#[schema(as = RevokeLeakedApiKeys)]
#[serde(deny_unknown_fields)]
pub struct RevokePresented {
    /// The raw keys.
    #[schema(value_type = Vec<String>, max_items = 100)]
    pub keys: Vec<Zeroizing<String>>,
}

impl RevokePresented {
    /// Reads the body of a revocation.
    pub fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body)?;
        let keys = fields.required("keys", |value| keys(value, 100));
        fields.finish()?;
        Ok(Self { keys: keys.unwrap_or_default() })
    }
}

/// Which keys of a workspace are to be revoked: the active ones of which everything holds that is said.
/// At least one of `all`, `created_before`, `unused_since`, `created_by` and `name_prefix` must be.
#[derive(ToSchema)]
#[schema(as = RevokeApiKeys)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "a schema; what is read is a Doom")]
pub struct RevokeDoomed {
    /// All of them.
    #[schema(value_type = Option<bool>, nullable = false)]
    all: Option<bool>,
    /// Those that were created before this time.
    #[schema(value_type = Option<String>, nullable = false, format = DateTime)]
    created_before: Option<Timestamp>,
    /// Those that were last used before the minute of this time or, where they never were, created
    /// before it. It must be at least an hour ago.
    #[schema(value_type = Option<String>, nullable = false, format = DateTime)]
    unused_since: Option<Timestamp>,
    /// Those that this account created.
    #[schema(value_type = Option<Uuid>, nullable = false)]
    created_by: Option<AccountId>,
    /// Those whose name begins so.
    #[schema(value_type = Option<String>, nullable = false, min_length = 1)]
    name_prefix: Option<String>,
    /// Only count them.
    #[schema(value_type = Option<bool>, nullable = false)]
    dry_run: Option<bool>,
    /// Why they are revoked, to be kept with each.
    #[schema(value_type = Option<super::wire::ReasonWord>, nullable = false)]
    reason: Option<Reason>,
}

/// What is to be done to many keys of a workspace.
pub struct Doom {
    /// Which keys.
    pub doomed: Doomed,
    /// Whether they are only counted.
    pub dry_run: bool,
    /// Why they are revoked.
    pub reason: Option<Reason>,
}

impl RevokeDoomed {
    /// Reads the body of a revocation.
    pub fn read(body: &[u8]) -> Result<Doom, Problem> {
        let mut fields = Fields::parse(body)?;
        let all = fields.optional("all", boolean).unwrap_or(false);
        let doomed = Doomed {
            created_before: fields.optional("created_before", time),
            unused_since: fields.optional("unused_since", time),
            created_by: fields.optional("created_by", id),
            name_prefix: fields.optional("name_prefix", |value| match string(value)? {
                "" => Err(Invalid::here("is empty")),
                prefix => Ok(prefix.to_owned()),
            }),
        };
        let dry_run = fields.optional("dry_run", boolean).unwrap_or(false);
        let reason = fields.optional("reason", |value| {
            string(value)?
                .parse()
                .map_err(|invalid: InvalidReason| Invalid::here(invalid.to_string()))
        });
        fields.finish()?;
        // A body that says nothing must not revoke everything.
        if !all && doomed == Doomed::default() {
            let why = "say which: all, created_before, unused_since, created_by or name_prefix";
            return Err(Problem::new(Kind::InvalidBody, why));
        }
        Ok(Doom { doomed, dry_run, reason })
    }
}

fn include(value: &Value) -> Result<Include, Invalid> {
    let mut include = Include::default();
    let words = value.as_array().ok_or_else(|| Invalid::here("must be an array of strings"))?;
    for word in words {
        match word.as_str() {
            Some("description") => include.description = true,
            Some("metadata") => include.metadata = true,
            _ => return Err(Invalid::here("may name description and metadata")),
        }
    }
    Ok(include)
}

#[cfg(test)]
mod fuzz;

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
