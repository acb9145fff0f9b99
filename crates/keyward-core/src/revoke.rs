//! The end of keys: one, those that somebody shows, and many at once.

use crate::audit::Origin;
use crate::caller::Authorised;
use crate::change::Change;
use crate::clock::{Minute, Timestamp};
use crate::details::{Reason, Revocation};
use crate::freshness::outlast_windows;
use crate::id::{AccountId, KeyId};
use crate::key::{ApiKey, Status};
use crate::service::{Keys, KeysError};
use crate::store::{Filter, ListPosition, StoreError};

/// Records that are read at a time while those are looked for that are to be revoked.
const PAGE: usize = 1_000;

/// Which keys of a workspace are to be revoked: the active ones of which all holds that is said here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Doomed {
    /// They were created before this moment.
    pub created_before: Option<Timestamp>,
    /// They were last used before the minute in which this moment lies or, where they never were,
    /// created before that.
    pub unused_since: Option<Timestamp>,
    /// This account created them.
    pub created_by: Option<AccountId>,
    /// Their name begins so.
    pub name_prefix: Option<String>,
}

impl Doomed {
    fn includes(&self, key: &ApiKey) -> bool {
        self.created_before.is_none_or(|time| key.created_at < time)
            && self.name_prefix.as_ref().is_none_or(|it| key.name.as_str().starts_with(&**it))
    }

    fn includes_used(&self, key: &ApiKey, last_use: Option<Timestamp>) -> bool {
        // A use is kept as of the beginning of its minute, which may be before the key was made.
        let last = last_use.unwrap_or(key.created_at).max(key.created_at);
        self.unused_since.is_none_or(|time| last < Minute::of(time).start())
    }
}

impl Keys {
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
        reason: Option<Reason>,
    ) -> Result<Option<ApiKey>, KeysError> {
        let by = Some(caller.account()).filter(|_| !caller.is_key(id));
        let at = self.clock.now();
        let change = Change::Revoke(Revocation { at, by, reason });
        let trace = self.trace(at, Some(caller), caller.origin())?;
        let changed = self.change(caller.workspace(), id, &change, &trace).await?;
        Ok(changed.map(|changed| changed.key))
    }

    /// Revokes a key that somebody shows, whose possession is the proof that they may. It is *not*
    /// waited for that no node accepts it any more: call [`Keys::outlast`] after the last of several.
    /// That the key is malformed, unknown or revoked already is not told.
    ///
    /// The returned future must be driven to its end, as that of [`Keys::revoke`].
    ///
    /// # Errors
    ///
    /// When the store fails, or too many keys are being looked up.
    pub async fn revoke_presented(
        &self,
        presented: &str,
        origin: &Origin,
    ) -> Result<(), KeysError> {
        let Some(key) = self.verifier.find(presented).await? else { return Ok(()) };
        let (at, reason) = (self.clock.now(), Some(Reason::KeyCompromise));
        let change = Change::Revoke(Revocation { at, by: None, reason });
        let trace = self.trace(at, None, origin)?;
        self.change_unseen(key.workspace_id, key.id, &change, &trace).await?;
        Ok(())
    }

    /// Fails where no key can be revoked now, whatever keys there are.
    ///
    /// # Errors
    ///
    /// [`StoreError::Sealed`], and when the store fails.
    pub async fn can_change(&self) -> Result<(), StoreError> {
        self.store.import(&[]).await.map(drop)
    }

    /// The keys of the caller's workspace that are doomed, as they are now. What this node has noted of
    /// their use counts; what others noted in the last seconds may not.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn doomed(
        &self,
        caller: &Authorised,
        doomed: &Doomed,
    ) -> Result<Vec<KeyId>, StoreError> {
        let status = Some(Status::Active);
        let filter = Filter { status, created_by: doomed.created_by, name: None };
        if doomed.unused_since.is_some() {
            self.verifier.write_uses().await?;
        }
        let mut found = Vec::new();
        let mut after: Option<ListPosition> = None;
        loop {
            let mut page = self.store.list(caller.workspace(), &filter, after, PAGE).await?;
            let next = page.last().filter(|_| page.len() == PAGE).map(ListPosition::from);
            page.retain(|key| doomed.includes(key));
            found.extend(self.unused(caller, page, doomed).await?);
            match next {
                Some(_) => after = next,
                None => return Ok(found),
            }
        }
    }

    async fn unused(
        &self,
        caller: &Authorised,
        keys: Vec<ApiKey>,
        doomed: &Doomed,
    ) -> Result<Vec<KeyId>, StoreError> {
        if doomed.unused_since.is_none() {
            return Ok(keys.into_iter().map(|key| key.id).collect());
        }
        let last_uses = self.last_uses(caller, &keys).await?;
        let unused =
            keys.iter().zip(last_uses).filter(|(key, last)| doomed.includes_used(key, *last));
        Ok(unused.map(|(key, _)| key.id).collect())
    }

    /// As [`Keys::revoke`], but it is *not* waited for that no node accepts the key any more: call
    /// [`Keys::outlast`] after the last of several.
    ///
    /// # Errors
    ///
    /// As for [`Keys::revoke`].
    pub async fn revoke_one_of_many(
        &self,
        caller: &Authorised,
        id: KeyId,
        reason: Option<Reason>,
    ) -> Result<(), KeysError> {
        let (at, by) = (self.clock.now(), Some(caller.account()));
        let change = Change::Revoke(Revocation { at, by, reason });
        let trace = self.trace(at, Some(caller), caller.origin())?;
        self.change_unseen(caller.workspace(), id, &change, &trace).await?;
        Ok(())
    }

    /// Waits until no node accepts what was revoked before this call.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn outlast(&self) -> Result<(), StoreError> {
        outlast_windows(&*self.store, &*self.timer).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn at(second: &str) -> Timestamp {
        Timestamp::parse(&format!("2024-01-15T{second}Z")).unwrap()
    }

    /// A key that is made at 9:30:30.
    fn key() -> ApiKey {
        ApiKey { created_at: at("09:30:30"), ..testing::key(1, 1) }
    }

    #[test]
    fn a_key_is_unused_since_a_time_where_its_last_use_was_in_a_minute_before() {
        let dooms = |since, used| {
            let doomed = Doomed { unused_since: Some(at(since)), ..Doomed::default() };
            doomed.includes_used(&key(), Some(at(used)))
        };
        assert!(dooms("12:00:00", "11:59:00"));
        assert!(!dooms("12:00:00", "12:00:00"));
        // It may have been used in the last second of that minute.
        assert!(!dooms("12:00:59", "12:00:00"));
        assert!(!dooms("09:30:59", "09:30:00"));
    }

    #[test]
    fn a_key_that_was_never_used_is_unused_since_it_was_made() {
        let dooms = |since| {
            Doomed { unused_since: Some(at(since)), ..Doomed::default() }
                .includes_used(&key(), None)
        };
        assert!(dooms("09:31:00"));
        assert!(!dooms("09:30:59"));
    }
}
