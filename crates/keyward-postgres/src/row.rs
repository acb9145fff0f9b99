//! A row, and the record that it is.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use keyward_core::clock::Timestamp;
use keyward_core::details::{Description, Details, Metadata, Revocation};
use keyward_core::id::{AccountId, KeyId};
use keyward_core::key::{ApiKey, KeyName, Status};
use keyward_core::scope::{Scope, Scopes};
use keyward_core::secret::{KeyDigest, KeyPrefix};
use keyward_core::store::{StoreError, StoredKey};
use uuid::Uuid;

/// A row of `keyward.api_keys`.
#[derive(Debug)]
pub struct Row {
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub digest: Vec<u8>,
    pub name: String,
    pub key_prefix: String,
    pub status: String,
    pub created_by: Uuid,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub scopes: Option<String>,
    pub description: Option<String>,
    pub metadata: Option<String>,
    pub expires_at: Option<DateTime<Utc>>,
    pub rotated_from: Option<Uuid>,
    pub rotated_to: Option<Uuid>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub revoked_by: Option<Uuid>,
    pub revoked_reason: Option<String>,
}

/// A column whose value no version of this program wrote.
#[derive(Debug, thiserror::Error)]
#[error("the column {0} of a key is malformed")]
struct Malformed(&'static str);

impl Row {
    /// The record. Strict: what cannot be what it should be is an error and never a guess.
    pub fn into_stored(self) -> Result<StoredKey, StoreError> {
        self.decode().map_err(|malformed| StoreError::Corrupt(Box::new(malformed)))
    }

    fn decode(self) -> Result<StoredKey, Malformed> {
        let details = self.details()?;
        let digest = self.digest.try_into().map_err(|_| Malformed("digest"))?;
        let key = ApiKey {
            id: self.id.into(),
            workspace_id: self.workspace_id.into(),
            name: name(&self.name)?,
            key_prefix: KeyPrefix::from_stored(&self.key_prefix).ok_or(Malformed("key_prefix"))?,
            status: status(&self.status)?,
            created_by: self.created_by.into(),
            created_at: timestamp(self.created_at, "created_at")?,
            updated_at: timestamp(self.updated_at, "updated_at")?,
            named_scopes: self.scopes.as_deref().map(scopes).transpose()?,
            details: details.into(),
        };
        Ok(StoredKey { key, digest: KeyDigest::from_bytes(digest) })
    }

    fn details(&self) -> Result<Details, Malformed> {
        let time = |time: Option<_>, column| time.map(|it| timestamp(it, column)).transpose();
        let reason = self.revoked_reason.as_deref().map(str::parse).transpose();
        let reason = reason.map_err(|_| Malformed("revoked_reason"))?;
        let by = self.revoked_by.map(Into::into);
        let revocation = match time(self.revoked_at, "revoked_at")? {
            Some(at) => Some(Revocation { at, by, reason }),
            None if by.is_some() || reason.is_some() => return Err(Malformed("revoked_at")),
            None => None,
        };
        Ok(Details {
            description: self.description.as_deref().map(description).transpose()?,
            metadata: self.metadata.as_deref().map_or(Ok(Metadata::default()), metadata)?,
            expires_at: time(self.expires_at, "expires_at")?,
            rotated_from: self.rotated_from.map(Into::into),
            rotated_to: self.rotated_to.map(Into::into),
            revocation,
        })
    }
}

fn name(text: &str) -> Result<KeyName, Malformed> {
    let name = KeyName::new(text).map_err(|_| Malformed("name"))?;
    // Trimming must leave it as it is: what was written had been trimmed.
    if name.as_str() == text { Ok(name) } else { Err(Malformed("name")) }
}

fn description(text: &str) -> Result<Description, Malformed> {
    let description = Description::new(text).map_err(|_| Malformed("description"))?;
    if description.as_str() == text { Ok(description) } else { Err(Malformed("description")) }
}

fn metadata(json: &str) -> Result<Metadata, Malformed> {
    let entries: BTreeMap<String, String> =
        serde_json::from_str(json).map_err(|_| Malformed("metadata"))?;
    // Where there is none, none is written.
    if entries.is_empty() {
        return Err(Malformed("metadata"));
    }
    Metadata::new(entries).map_err(|_| Malformed("metadata"))
}

fn column_metadata(metadata: &Metadata) -> Option<String> {
    let entries = || metadata.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    (!metadata.is_empty()).then(|| serde_json::Value::Object(entries()).to_string())
}

fn status(text: &str) -> Result<Status, Malformed> {
    let known = [Status::Active, Status::Revoked].into_iter().find(|it| it.as_str() == text);
    known.ok_or(Malformed("status"))
}

fn scopes(text: &str) -> Result<Scopes, Malformed> {
    let scopes: Result<Scopes, _> = text.split_terminator(' ').map(str::parse::<Scope>).collect();
    let scopes = scopes.map_err(|_| Malformed("scopes"))?;
    // They are written in order and without repeats.
    if scopes.to_string() == text { Ok(scopes) } else { Err(Malformed("scopes")) }
}

fn timestamp(time: DateTime<Utc>, column: &'static str) -> Result<Timestamp, Malformed> {
    Timestamp::from_micros(time.timestamp_micros()).ok_or(Malformed(column))
}

/// When a key was last used, as it stands in a column.
pub fn last_used_at(time: DateTime<Utc>) -> Result<Timestamp, StoreError> {
    timestamp(time, "last_used_at").map_err(|malformed| StoreError::Corrupt(Box::new(malformed)))
}

/// The value of a time in a column, exactly.
pub fn column_time(time: Timestamp) -> DateTime<Utc> {
    // Every timestamp is within what chrono can hold.
    DateTime::from_timestamp_micros(time.as_micros()).unwrap_or(DateTime::UNIX_EPOCH)
}

/// Records, column by column: what a statement unnests.
#[derive(Debug, Default)]
pub struct Columns {
    pub ids: Vec<Uuid>,
    pub workspaces: Vec<Uuid>,
    pub digests: Vec<Vec<u8>>,
    pub names: Vec<String>,
    pub prefixes: Vec<String>,
    pub statuses: Vec<String>,
    pub creators: Vec<Uuid>,
    pub created: Vec<DateTime<Utc>>,
    pub updated: Vec<DateTime<Utc>>,
    pub scopes: Vec<Option<String>>,
    pub descriptions: Vec<Option<String>>,
    pub metadata: Vec<Option<String>>,
    pub expiries: Vec<Option<DateTime<Utc>>>,
    pub rotated_from: Vec<Option<Uuid>>,
    pub rotated_to: Vec<Option<Uuid>>,
    pub revoked_at: Vec<Option<DateTime<Utc>>>,
    pub revoked_by: Vec<Option<Uuid>>,
    pub reasons: Vec<Option<String>>,
}

impl<'a> FromIterator<&'a StoredKey> for Columns {
    fn from_iter<T: IntoIterator<Item = &'a StoredKey>>(records: T) -> Self {
        let mut columns = Self::default();
        for StoredKey { key, digest } in records {
            columns.ids.push(key.id.as_uuid());
            columns.workspaces.push(key.workspace_id.as_uuid());
            columns.digests.push(digest.as_bytes().to_vec());
            columns.names.push(key.name.as_str().to_owned());
            columns.prefixes.push(key.key_prefix.as_str().to_owned());
            columns.statuses.push(key.status.as_str().to_owned());
            columns.creators.push(key.created_by.as_uuid());
            columns.created.push(column_time(key.created_at));
            columns.updated.push(column_time(key.updated_at));
            columns.scopes.push(key.named_scopes.as_ref().map(Scopes::to_string));
            let Details { description, metadata, revocation, .. } = &*key.details;
            columns.descriptions.push(description.as_ref().map(|it| it.as_str().to_owned()));
            columns.metadata.push(column_metadata(metadata));
            columns.expiries.push(key.details.expires_at.map(column_time));
            columns.rotated_from.push(key.details.rotated_from.as_ref().map(KeyId::as_uuid));
            columns.rotated_to.push(key.details.rotated_to.as_ref().map(KeyId::as_uuid));
            columns.revoked_at.push(revocation.map(|it| column_time(it.at)));
            columns
                .revoked_by
                .push(revocation.and_then(|it| it.by).as_ref().map(AccountId::as_uuid));
            let reason = revocation.and_then(|it| it.reason);
            columns.reasons.push(reason.map(|reason| reason.as_str().to_owned()));
        }
        columns
    }
}

#[cfg(test)]
mod fuzz;
