//! Create, list and revoke: each an authorised caller and one change of the store.

use std::sync::Arc;

use crate::caller::{Authorised, Denied};
use crate::clock::{Clock, Entropy, EntropyError, Timer};
use crate::freshness::outlast_windows;
use crate::id::KeyId;
use crate::key::{ApiKey, KeyName, Status};
use crate::scope::Scopes;
use crate::secret::{KeyFormat, PlainKey};
use crate::store::{KeyStore, ListPosition, StoreError};
use crate::verify::Verifier;

/// What a new key is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Its display name.
    pub name: KeyName,
    /// Its scopes; `None` for the default.
    pub scopes: Option<Scopes>,
}

/// Why a call changed nothing, or may have.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The caller may not. Nothing was changed.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// No randomness to make a key of. Nothing was changed.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The store failed; see [`StoreError`] for what that means for the change.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The life of keys: everything that changes a record goes through here.
pub struct Keys {
    store: Arc<dyn KeyStore>,
    verifier: Arc<Verifier>,
    format: KeyFormat,
    clock: Arc<dyn Clock>,
    timer: Arc<dyn Timer>,
    entropy: Arc<dyn Entropy>,
}

impl Keys {
    /// The keys in `store`, which `verifier` remembers.
    pub fn new(
        store: Arc<dyn KeyStore>,
        verifier: Arc<Verifier>,
        format: KeyFormat,
        clock: Arc<dyn Clock>,
        timer: Arc<dyn Timer>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { store, verifier, format, clock, timer, entropy }
    }

    /// Makes a key. It is accepted from the moment this returns.
    ///
    /// # Errors
    ///
    /// After [`KeysError::Store`] the record may exist, but nobody has its key.
    pub async fn create(
        &self,
        caller: &Authorised,
        new: NewKey,
    ) -> Result<(ApiKey, PlainKey), KeysError> {
        let named_scopes = caller.grantable(new.scopes)?;
        let plain = self.format.mint(&*self.entropy)?;
        let now = self.clock.now();
        let key = ApiKey {
            id: KeyId::mint(now, &*self.entropy)?,
            workspace_id: caller.workspace(),
            name: new.name,
            key_prefix: plain.key_prefix(),
            status: Status::Active,
            created_by: caller.account(),
            created_at: now,
            updated_at: now,
            named_scopes,
        };
        self.store.create(&key, &plain.digest()).await?;
        Ok((key, plain))
    }

    /// One page of the caller's workspace, as [`KeyStore::list`] gives it.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn list(
        &self,
        caller: &Authorised,
        after: Option<ListPosition>,
        limit: usize,
    ) -> Result<Vec<ApiKey>, StoreError> {
        self.store.list(caller.workspace(), after, limit).await
    }

    /// Revokes the key `id` of the caller's workspace, for ever. When this returns `Some`, no
    /// verification that starts later accepts the key, on any node. `None` where the workspace has no
    /// such key. Revoking again changes nothing, takes as long and says the same: the first call may
    /// have died before it ended.
    ///
    /// The returned future **must be driven to its end** (V12): it evicts the record from memory
    /// after the write, and on an exclusive store nothing else would. The server runs it in a task
    /// of its own, which a disconnecting client does not cancel.
    ///
    /// # Errors
    ///
    /// When the store fails. The write may have been made all the same, so the record is evicted
    /// then too, and the next verification asks the store.
    pub async fn revoke(
        &self,
        caller: &Authorised,
        id: KeyId,
    ) -> Result<Option<ApiKey>, StoreError> {
        let workspace = caller.workspace();
        let Some(stored) = self.store.get(workspace, id).await? else {
            return Ok(None);
        };
        let outcome = self.store.revoke(workspace, id, self.clock.now()).await;
        self.verifier.evict(&stored.digest);
        if let Ok(Some(_)) = outcome {
            outlast_windows(&*self.store, &*self.timer).await?;
        }
        outcome
    }
}
