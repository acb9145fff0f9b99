//! The record of a key.

use std::fmt;

use crate::clock::Timestamp;
use crate::details::{Revocation, SparseDetails};
use crate::id::{AccountId, KeyId, WorkspaceId};
use crate::scope::Scopes;
use crate::secret::KeyPrefix;

/// Longest name, in characters after trimming.
pub const MAX_NAME_CHARS: usize = 255;

/// A text that is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing but white space, or nothing at all.
    #[error("is empty")]
    Empty,
    /// Longer than [`MAX_NAME_CHARS`].
    #[error("is longer than {MAX_NAME_CHARS} characters")]
    TooLong,
    /// With a control character, which a terminal or a log would obey.
    #[error("has a control character")]
    Control,
}

/// The display name of a key: 1 to 255 characters, trimmed, no control characters. Names may repeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyName(Box<str>);

impl KeyName {
    /// The name that is left of `text` after trimming.
    ///
    /// # Errors
    ///
    /// When what is left is empty or too long, or has a control character.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let name = text.trim();
        if name.is_empty() {
            Err(InvalidName::Empty)
        } else if name.chars().any(char::is_control) {
            Err(InvalidName::Control)
        } else if name.chars().count() > MAX_NAME_CHARS {
            Err(InvalidName::TooLong)
        } else {
            Ok(Self(name.into()))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a key may still be used. There is one transition, from active to revoked, and no way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Accepted.
    Active,
    /// Refused, for ever.
    Revoked,
}

impl Status {
    /// The documented word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// All that is known of a key, except what would let somebody use it.
///
/// What a verification looks at comes first, in this order in memory too, where it then is on two lines
/// of 64 bytes: of a million remembered records hardly one is in the processor's cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[repr(C)]
pub struct ApiKey {
    /// What it has beyond the rest.
    pub details: SparseDetails,
    /// The scopes that its creator named; `None` where none were named and the default was granted
    /// in full. [`ApiKey::scopes`] gives what the key holds in either case.
    pub named_scopes: Option<Scopes>,
    /// Whether it is accepted.
    pub status: Status,
    /// Names the key, for life.
    pub id: KeyId,
    /// The workspace that it belongs to.
    pub workspace_id: WorkspaceId,
    /// The account that created it, and for which it acts.
    pub created_by: AccountId,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Its display name.
    pub name: KeyName,
    /// Its first characters.
    pub key_prefix: KeyPrefix,
}

impl ApiKey {
    /// What the key may do.
    pub fn scopes(&self) -> &Scopes {
        self.named_scopes.as_ref().unwrap_or_else(|| Scopes::default_for_keys())
    }

    /// The one transition. The time of a first revocation stays, whatever is asked later, and a
    /// record never appears to have changed before it was made (`at` may come from a clock that
    /// was set back).
    ///
    /// Returns whether anything changed.
    pub fn revoke(&mut self, revocation: impl Into<Revocation>) -> bool {
        let changes = self.status == Status::Active;
        if changes {
            let revocation = revocation.into();
            self.status = Status::Revoked;
            self.updated_at = revocation.at.max(self.updated_at);
            self.details.revocation = Some(Revocation { at: self.updated_at, ..revocation });
        }
        changes
    }

    /// Whether the key is refused at `now` because it has expired.
    pub fn expired_at(&self, now: Timestamp) -> bool {
        self.details.expires_at.is_some_and(|end| now >= end)
    }

    /// Brings this record together with `other`, the same key as another store has it: revoked wins
    /// over active, and where both are revoked this record stays as it is. Where both are active, the
    /// one wins that changed last.
    ///
    /// Returns whether anything changed.
    ///
    /// # Errors
    ///
    /// When the two differ in anything that is settled when a key is made, or differ though neither
    /// changed after the other. Nothing has changed then.
    pub fn absorb(&mut self, other: &Self) -> Result<bool, DifferentKey> {
        let same = self.id == other.id
            && self.workspace_id == other.workspace_id
            && self.key_prefix == other.key_prefix
            && self.created_by == other.created_by
            && self.created_at == other.created_at
            && self.details.rotated_from == other.details.rotated_from;
        let changes = match (self.status, other.status) {
            (Status::Active, Status::Revoked) => true,
            (Status::Revoked, _) => false,
            (Status::Active, Status::Active) => self.updated_at < other.updated_at,
        };
        let undecided = self.status == other.status && self.updated_at == other.updated_at;
        if !same || (undecided && self.status == Status::Active && self != other) {
            return Err(DifferentKey);
        }
        if changes {
            *self = other.clone();
        }
        Ok(changes)
    }
}

/// Two records that are not the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the records are different keys")]
pub struct DifferentKey;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_has_1_to_255_characters() {
        assert_eq!(KeyName::new("  CI/CD é ").unwrap().as_str(), "CI/CD é");
        assert!(KeyName::new(&"é".repeat(255)).is_ok());
        assert_eq!(KeyName::new(&"é".repeat(256)), Err(InvalidName::TooLong));
        assert_eq!(KeyName::new(" \t "), Err(InvalidName::Empty));
        for control in ["a\0b", "a\nb", "a\u{1b}[2J", "a\u{7f}b", "a\u{85}b"] {
            assert_eq!(KeyName::new(control), Err(InvalidName::Control), "{control:?}");
        }
    }
}
