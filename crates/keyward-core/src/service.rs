//! Create, list and change: each an authorised caller and one change of the store.

mod asked;

use std::sync::Arc;
use std::time::Duration;

use crate::audit::{AuditKey, EventPosition, Origin, Recorded, Trace};
use crate::caller::{Authorised, Denied};
use crate::change::{Change, Edit, Outcome, Refused, Rotation};
use crate::clock::{Clock, Entropy, EntropyError, Timer, Timestamp};
use crate::details::{Details, ExpiryPolicy};
use crate::freshness::{NotFresh, outlast_windows};
use crate::id::{EventId, KeyId, WorkspaceId};
use crate::key::{ApiKey, Status};
use crate::secret::{KeyFormat, PlainKey};
use crate::store::{
    Added, Addition, Changed, Filter, KeyStore, ListPosition, StoreError, StoredKey,
};
use crate::verify::{Verifier, VerifyError};

pub use self::asked::{Created, NewKey, REPEATABLE_FOR, Repeatable, Wanted};

/// An expiry that a key cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExpiry {
    /// It is over already.
    #[error("is not in the future")]
    Past,
    /// It is further ahead than the operator allows.
    #[error("is later than {0}, the longest that keys are good for here")]
    TooLate(Timestamp),
    /// The operator wants one.
    #[error("is required here")]
    Required,
}

/// Why a call changed nothing, or may have.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The caller may not. Nothing was changed.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The key would have an end that it cannot have. Nothing was changed.
    #[error("the expiry {0}")]
    Expiry(#[from] InvalidExpiry),
    /// What the key is stands against it. Nothing was changed.
    #[error(transparent)]
    Refused(Refused),
    /// The same name was given to a request with another body. Nothing was changed.
    #[error("the request is not the one that had this name before")]
    OtherRequest,
    /// No randomness to make a key of. Nothing was changed.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The store failed; see [`StoreError`] for what that means for the change.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key could not be looked up. Nothing was changed.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Nobody knows what time it is at the store. Nothing was changed.
    #[error(transparent)]
    NotFresh(#[from] NotFresh),
}

impl From<Refused> for KeysError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Denied(denied) => Self::Denied(denied),
            other => Self::Refused(other),
        }
    }
}

/// What holds for all keys.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// How long they may be good.
    pub expiry: ExpiryPolicy,
    /// What the events of the audit trail are signed with.
    pub audit: Option<AuditKey>,
}

/// The life of keys: everything that changes a record goes through here.
pub struct Keys {
    pub(crate) store: Arc<dyn KeyStore>,
    pub(crate) verifier: Arc<Verifier>,
    format: KeyFormat,
    rules: Rules,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) timer: Arc<dyn Timer>,
    entropy: Arc<dyn Entropy>,
}

impl Keys {
    /// The keys in `store`, which `verifier` remembers.
    pub fn new(
        store: Arc<dyn KeyStore>,
        verifier: Arc<Verifier>,
        format: KeyFormat,
        rules: Rules,
        clock: Arc<dyn Clock>,
        timer: Arc<dyn Timer>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { store, verifier, format, rules, clock, timer, entropy }
    }

    /// Makes a key. It is accepted from the moment this returns. A request that is repeatable makes one
    /// key in [`REPEATABLE_FOR`], however often it is sent, and shows it once.
    ///
    /// # Errors
    ///
    /// After [`KeysError::Store`] the record may exist, but nobody has its key.
    pub async fn create(
        &self,
        caller: &Authorised,
        new: NewKey,
        repeatable: Option<Repeatable<'_>>,
    ) -> Result<Created, KeysError> {
        let named_scopes = caller.grantable(new.scopes)?;
        let expires_at = self.expiry(caller, new.expires_at).await?;
        let plain = self.format.mint(&*self.entropy)?;
        // What ends is counted from the time of the store, by which its end is judged.
        let now = match expires_at {
            Some(_) => self.verifier.time().await?,
            None => self.clock.now(),
        };
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
            details: Details {
                description: new.description,
                metadata: new.metadata,
                expires_at,
                ..Details::NONE
            }
            .into(),
        };
        let addition = Addition {
            stored: StoredKey { key: key.clone(), digest: plain.digest() },
            trace: self.trace(now, Some(caller), caller.origin())?,
            once: repeatable.map(|it| it.once(caller, now)),
        };
        match self.store.add(addition).await? {
            Added::New => Ok(Created::New(Box::new(key), plain)),
            Added::Before(key) => Ok(Created::Before(key)),
            Added::Other => Err(KeysError::OtherRequest),
        }
    }

    /// What the event of a change is made of. Where nobody is named, possession of the key is what
    /// the change was asked with.
    pub(crate) fn trace(
        &self,
        at: Timestamp,
        by: Option<&Authorised>,
        origin: &Origin,
    ) -> Result<Trace, EntropyError> {
        Ok(Trace {
            id: EventId::mint(at, &*self.entropy)?,
            at,
            account: by.map(Authorised::account),
            credential: by.and_then(Authorised::credential),
            origin: origin.clone(),
            key: self.rules.audit.clone(),
        })
    }

    /// The expiry of a key for which `wanted` was asked.
    async fn expiry(
        &self,
        caller: &Authorised,
        wanted: Option<Timestamp>,
    ) -> Result<Option<Timestamp>, KeysError> {
        let Some(end) = caller.expiry(wanted)? else {
            return if self.rules.expiry.required {
                Err(InvalidExpiry::Required.into())
            } else {
                Ok(None)
            };
        };
        let now = self.verifier.time().await?;
        let latest = self.rules.expiry.longest.map_or(Timestamp::MAX, |longest| now.plus(longest));
        if end <= now {
            Err(InvalidExpiry::Past.into())
        } else if end > latest && wanted.is_some() {
            Err(InvalidExpiry::TooLate(latest).into())
        } else {
            Ok(Some(end.min(latest)))
        }
    }

    /// The key `id` of the caller's workspace. `None` where it has no such key.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn get(&self, caller: &Authorised, id: KeyId) -> Result<Option<ApiKey>, StoreError> {
        Ok(self.store.get(caller.workspace(), id).await?.map(|stored| stored.key))
    }

    /// One page of the caller's workspace, as [`KeyStore::list`] gives it.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn list(
        &self,
        caller: &Authorised,
        filter: &Filter,
        after: Option<ListPosition>,
        limit: usize,
    ) -> Result<Vec<ApiKey>, StoreError> {
        self.store.list(caller.workspace(), filter, after, limit).await
    }

    /// One page of the audit trail of the caller's workspace, as [`crate::audit::AuditLog::events`]
    /// gives it.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn events(
        &self,
        caller: &Authorised,
        after: Option<EventPosition>,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.store.audit().events(caller.workspace(), after, limit).await
    }

    /// Makes some fields of the key `id` what is wanted. When this returns a key, every verification
    /// that starts later judges by it, on every node. `None` where the workspace has no such key.
    ///
    /// The returned future must be driven to its end, as that of [`Keys::revoke`].
    ///
    /// # Errors
    ///
    /// Those of [`Keys::create`], and [`KeysError::Refused`] where the key is revoked.
    pub async fn edit(
        &self,
        caller: &Authorised,
        id: KeyId,
        wanted: Wanted,
    ) -> Result<Option<ApiKey>, KeysError> {
        let expires_at = match (wanted.expires_at, caller.expires_at()) {
            // What was left out would be the caller's own end; this was not left out.
            (Some(None), Some(own)) => return Err(Denied::MayNotOutlive(own).into()),
            (Some(end), _) => Some(self.expiry(caller, end).await?),
            (None, _) => None,
        };
        let Wanted { name, description, metadata, scopes, .. } = wanted;
        let at = self.clock.now();
        let by = caller.clone();
        let edit = Edit { by, at, name, description, metadata, scopes, expires_at };
        let change = Change::Edit(Box::new(edit));
        let trace = self.trace(at, Some(caller), caller.origin())?;
        let Some(changed) = self.change(caller.workspace(), id, &change, &trace).await? else {
            return Ok(None);
        };
        match changed.outcome {
            Outcome::Refused(refused) => Err(refused.into()),
            _ => Ok(Some(changed.key)),
        }
    }

    /// Makes another key in the place of the key `id`, which stays good for `grace` beside it, and
    /// with none is revoked. When this returns, the new key is accepted, and the old one is not for
    /// longer than that, on any node. `None` where the workspace has no such key.
    ///
    /// The returned future must be driven to its end, as that of [`Keys::revoke`].
    ///
    /// # Errors
    ///
    /// Those of [`Keys::create`], and [`KeysError::Refused`] where the key is revoked, has expired, or
    /// was rotated before.
    pub async fn rotate(
        &self,
        caller: &Authorised,
        id: KeyId,
        grace: Duration,
    ) -> Result<Option<(ApiKey, PlainKey)>, KeysError> {
        let plain = self.format.mint(&*self.entropy)?;
        let at = self.verifier.time().await?;
        let rotation = Rotation {
            at,
            grace,
            by: caller.clone(),
            policy: self.rules.expiry,
            id: KeyId::mint(at, &*self.entropy)?,
            digest: plain.digest(),
            key_prefix: plain.key_prefix(),
        };
        let change = Change::Rotate(Box::new(rotation));
        let trace = self.trace(at, Some(caller), caller.origin())?;
        let Some(changed) = self.change(caller.workspace(), id, &change, &trace).await? else {
            return Ok(None);
        };
        match changed.outcome {
            Outcome::Succeeded(successor) => {
                let StoredKey { key, .. } = *successor;
                Ok(Some((key, plain)))
            }
            Outcome::Refused(refused) => Err(refused.into()),
            Outcome::Changed | Outcome::Unchanged => Ok(None),
        }
    }

    /// Makes a change, forgets what memory holds, and waits until no node relies on it any more.
    /// Where the record was that way already, or that stands against the change, it waits too: who
    /// made it so may have died before.
    pub(crate) async fn change(
        &self,
        workspace: WorkspaceId,
        id: KeyId,
        change: &Change,
        trace: &Trace,
    ) -> Result<Option<Changed>, StoreError> {
        let changed = self.change_unseen(workspace, id, change, trace).await?;
        if changed.is_some() {
            outlast_windows(&*self.store, &*self.timer).await?;
        }
        Ok(changed)
    }

    /// As [`Keys::change`], without waiting for other nodes: whoever makes many changes waits once,
    /// after the last.
    pub(crate) async fn change_unseen(
        &self,
        workspace: WorkspaceId,
        id: KeyId,
        change: &Change,
        trace: &Trace,
    ) -> Result<Option<Changed>, StoreError> {
        let outcome = self.store.change(workspace, id, change, trace).await;
        match &outcome {
            Ok(Some(changed)) => self.verifier.evict(&changed.digest),
            Ok(None) | Err(StoreError::Conflict(_) | StoreError::Sealed) => {}
            // The change may have been made all the same, and it is not known which digest to forget.
            Err(_) => self.verifier.evict_key(id),
        }
        outcome
    }
}
