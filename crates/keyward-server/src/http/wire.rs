//! Bodies of answers: the objects of the documentation, and how they are written.

use bytes::Bytes;
use keyward_core::clock::Timestamp;
use keyward_core::details::{Description, Metadata, Reason};
use keyward_core::id::{AccountId, KeyId};
use keyward_core::key::ApiKey;
use keyward_core::scope::{Scope, Scopes};
use keyward_core::verify::Verdict;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;
use uuid::Uuid;

use super::grammar::{self, KeyPrefixText, RawKeyText, ScopeText};
use super::problem::Problem;
use super::requests::Include;

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
    #[schema(value_type = Option<RawKeyText>, nullable = false)]
    key: Option<&'a str>,
    /// First characters of the key, for identification.
    #[schema(value_type = KeyPrefixText)]
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
    /// The scopes that were named. A key for which none were holds `api_keys:read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<ScopeText>>, nullable = false)]
    scopes: Option<ScopeList<'a>>,
    /// What the key is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    description: Option<&'a str>,
    /// What was attached to the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = grammar::metadata, required = false)]
    metadata: Option<Entries<'a>>,
    /// From when on the key is refused. Its status stays `active` then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false, format = DateTime)]
    expires_at: Option<Time>,
    /// The key in whose place it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rotated_from: Option<Uuid>,
    /// The key that was made in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rotated_to: Option<Uuid>,
    /// When the key was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false, format = DateTime)]
    revoked_at: Option<Time>,
    /// Account that revoked the key; left out where the key itself was shown for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    revoked_by: Option<Uuid>,
    /// Why the key was revoked, where that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ReasonWord>, nullable = false)]
    revoked_reason: Option<&'static str>,
    /// The minute in which the key was last verified and found good. It may be about 10 s late. Only
    /// where one key is got and in lists that were asked for with a parameter; left out where that
    /// never happened, or is not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false, format = DateTime, example = "2024-01-15T09:30:00Z")]
    last_used_at: Option<Time>,
}

/// The words of a key's status.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "a schema; the words themselves are keyward_core::key::Status's")]
pub enum StatusWord {
    Active,
    Revoked,
}

/// The words for why a key was revoked: those of RFC 5280, section 5.3.1.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "a schema; the words themselves are keyward_core::details::Reason's")]
pub enum ReasonWord {
    KeyCompromise,
    AffiliationChanged,
    Superseded,
    CessationOfOperation,
    PrivilegeWithdrawn,
}

pub struct Time(pub Timestamp);

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

struct Entries<'a>(&'a Metadata);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

impl<'a> KeyObject<'a> {
    /// The key as the management calls show it.
    pub fn new(key: &'a ApiKey) -> Self {
        let details = &key.details;
        let revocation = details.revocation;
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
            description: details.description.as_ref().map(Description::as_str),
            metadata: Some(&details.metadata).filter(|it| !it.is_empty()).map(Entries),
            expires_at: details.expires_at.map(Time),
            rotated_from: details.rotated_from.as_ref().map(KeyId::as_uuid),
            rotated_to: details.rotated_to.as_ref().map(KeyId::as_uuid),
            revoked_at: revocation.map(|it| Time(it.at)),
            revoked_by: revocation.and_then(|it| it.by).as_ref().map(AccountId::as_uuid),
            revoked_reason: revocation.and_then(|it| it.reason).map(Reason::as_str),
            last_used_at: None,
        }
    }

    /// The same with when the key was last used, where that is known.
    pub fn last_used(self, at: Option<Timestamp>) -> Self {
        Self { last_used_at: at.map(Time), ..self }
    }

    /// The key as the documented list shows it. That it is revoked is its status, and when, the time
    /// of its last change.
    pub fn documented(key: &'a ApiKey) -> Self {
        Self { revoked_at: None, revoked_by: None, revoked_reason: None, ..Self::new(key) }
    }

    /// The key as verifications show it: what was written about it only where that is asked for.
    pub fn verified(key: &'a ApiKey, include: Include) -> Self {
        let all = Self::new(key);
        Self {
            description: all.description.filter(|_| include.description),
            metadata: all.metadata.filter(|_| include.metadata),
            ..all
        }
    }

    /// The key as the answer to its creation shows it, this once.
    pub fn revealed(key: &'a ApiKey, secret: &'a str) -> Self {
        Self { key: Some(secret), ..Self::new(key) }
    }
}

/// A key that an earlier request made, as the answer to the same request sent again.
#[derive(Serialize, ToSchema)]
#[schema(as = ReplayedApiKey)]
pub struct Replayed<'a> {
    #[serde(flatten)]
    pub key: KeyObject<'a>,
    /// That the key cannot be had again, and what to do about it.
    #[schema(value_type = String)]
    pub detail: &'static str,
}

impl Replayed<'_> {
    /// What to do.
    pub const DETAIL: &'static str = "this request made the key before, and its raw value was in that \
        answer alone: if that was lost, rotate the key or revoke it";
}

/// The verdict on a presented key.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "it is written where it is made")]
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

impl<'a> Verification<'a> {
    /// The verdict, with what is to be handed back of a good key.
    pub fn new(verdict: &'a Verdict, include: Include) -> Self {
        match verdict {
            Verdict::Accepted(key) => {
                Self::Valid { valid: true, key: KeyObject::verified(key, include) }
            }
            Verdict::Refused(refusal) => Self::Invalid { valid: false, code: refusal.code() },
        }
    }
}

/// The verdicts on many presented keys.
#[derive(Serialize, ToSchema)]
pub struct Verifications<'a> {
    /// One for each key, in the order of the keys.
    pub results: Vec<Verification<'a>>,
}

/// The answer to a revocation of many keys.
#[derive(Serialize, ToSchema)]
pub struct RevokedMany {
    /// Whether it was only counted.
    pub dry_run: bool,
    /// Keys that are revoked, or would be.
    pub count: usize,
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

/// What an object commonly takes as JSON, to size buffers by.
pub const OBJECT_BYTES: usize = 512;

/// Writes a value as JSON.
pub fn json(value: &impl Serialize) -> Result<Bytes, Problem> {
    let mut text = Vec::with_capacity(OBJECT_BYTES);
    serde_json::to_writer(&mut text, value).map_err(Problem::internal)?;
    Ok(text.into())
}
