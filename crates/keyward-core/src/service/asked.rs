//! What is asked for.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::caller::Authorised;
use crate::clock::Timestamp;
use crate::details::{Description, Metadata};
use crate::key::{ApiKey, KeyName};
use crate::scope::Scopes;
use crate::secret::PlainKey;
use crate::store::Once;

/// What a new key is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Its display name.
    pub name: KeyName,
    /// Its scopes; `None` for the default.
    pub scopes: Option<Scopes>,
    /// What it is for.
    pub description: Option<Description>,
    /// What is attached to it.
    pub metadata: Metadata,
    /// When it ends; `None` for the caller's own end, or never.
    pub expires_at: Option<Timestamp>,
}

impl NewKey {
    /// A key with a name, and nothing else said.
    pub fn named(name: KeyName) -> Self {
        let metadata = Metadata::default();
        Self { name, scopes: None, description: None, metadata, expires_at: None }
    }
}

/// A request to make a key that may be sent again, because its answer may be lost.
#[derive(Debug, Clone, Copy)]
pub struct Repeatable<'a> {
    /// What the client names the request by.
    pub name: &'a str,
    /// The body of the request.
    pub body: &'a [u8],
}

/// For how long a request to make a key is remembered that may be sent again.
pub const REPEATABLE_FOR: Duration = Duration::from_hours(24);

impl Repeatable<'_> {
    /// What the store remembers. The name is the client's own: another account, or the same one in
    /// another workspace, may use it too.
    pub(super) fn once(&self, caller: &Authorised, now: Timestamp) -> Once {
        let name = Sha256::new_with_prefix(b"keyward request 1\n")
            .chain_update(caller.workspace().as_bytes())
            .chain_update(caller.account().as_bytes())
            .chain_update(self.name)
            .finalize();
        let content = Sha256::digest(self.body);
        Once { name: name.into(), content: content.into(), since: now.minus(REPEATABLE_FOR) }
    }
}

/// A key that was asked for.
#[derive(Debug)]
pub enum Created {
    /// It was made; this is the only time that it is shown.
    New(Box<ApiKey>, PlainKey),
    /// The same request made it before; its secret is gone.
    Before(Box<ApiKey>),
}

/// What is to be another, of a key that is there; see [`crate::change::Edit`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Its display name.
    pub name: Option<KeyName>,
    /// What it is for, or that nothing is to be said about it.
    pub description: Option<Option<Description>>,
    /// What is attached to it, in the place of all that was.
    pub metadata: Option<Metadata>,
    /// Its scopes.
    pub scopes: Option<Scopes>,
    /// When it ends, or that it is not to.
    pub expires_at: Option<Option<Timestamp>>,
}
