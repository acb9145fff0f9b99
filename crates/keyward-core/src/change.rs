//! What may become of a record that is there: the only ways in which one changes.
//!
//! Every driver applies these to the record as it is under its own lock, and stores what comes of it.
//! So what a change may do is judged by the record that it changes, and not by one that was read
//! before.

use std::time::Duration;

use crate::caller::{Authorised, Denied};
use crate::clock::Timestamp;
use crate::details::{Description, Details, ExpiryPolicy, Metadata, Reason, Revocation};
use crate::id::KeyId;
use crate::key::{ApiKey, KeyName, Status};
use crate::scope::Scopes;
use crate::secret::{KeyDigest, KeyPrefix};
use crate::store::StoredKey;

/// A change of one record.
#[derive(Debug, Clone)]
pub enum Change {
    /// Revokes it, for ever.
    Revoke(Revocation),
    /// Makes some of its fields something else.
    Edit(Box<Edit>),
    /// Makes another key in its place.
    Rotate(Box<Rotation>),
}

/// Fields that are to be something else; `None` leaves one as it is.
#[derive(Debug, Clone)]
pub struct Edit {
    /// Who makes the change. A key is given more time only by one who may hand on what it holds.
    pub by: Authorised,
    /// When the change is made, see [`ApiKey::updated_at`].
    pub at: Timestamp,
    /// The new name.
    pub name: Option<KeyName>,
    /// The new description, or that there is to be none.
    pub description: Option<Option<Description>>,
    /// The new metadata, in the place of all that there is.
    pub metadata: Option<Metadata>,
    /// The new scopes.
    pub scopes: Option<Scopes>,
    /// The new moment from which it is refused, or that there is to be none.
    pub expires_at: Option<Option<Timestamp>>,
}

/// Another key that takes the place of one.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// When it is made.
    pub at: Timestamp,
    /// How long the old key is good beside it, unless it ends sooner. With zero it is revoked.
    pub grace: Duration,
    /// Who makes it, and must be one who may hand on what the old key holds.
    pub by: Authorised,
    /// What holds for the end of the new key.
    pub policy: ExpiryPolicy,
    /// The id of the new key.
    pub id: KeyId,
    /// The digest of the new key.
    pub digest: KeyDigest,
    /// The first characters of the new key.
    pub key_prefix: KeyPrefix,
}

/// Why a record stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is revoked, and that is the end of it.
    #[error("the key is revoked")]
    Revoked,
    /// It has expired, and a key in its place would not be one that somebody still uses.
    #[error("the key has expired")]
    Expired,
    /// Another key was made in its place already.
    #[error("the key has been rotated already")]
    Rotated,
    /// It never ends, and a new key must.
    #[error("the key has no expiry, and new keys must have one: give it one first")]
    Endless,
    /// Whoever asks may not hand on what the key holds.
    #[error(transparent)]
    Denied(#[from] Denied),
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The record is another one now.
    Changed,
    /// The record was what it was to become.
    Unchanged,
    /// The record is another one now, and this new one is in its place.
    Succeeded(Box<StoredKey>),
    /// The record stays as it was.
    Refused(Refused),
}

impl Change {
    /// Applies the change, and says what came of it. Where that is [`Outcome::Unchanged`] or
    /// [`Outcome::Refused`], the record is what it was.
    pub fn apply(&self, key: &mut ApiKey) -> Outcome {
        match self {
            Self::Revoke(revocation) if key.revoke(*revocation) => Outcome::Changed,
            Self::Revoke(_) => Outcome::Unchanged,
            Self::Edit(edit) => edit.apply(key).unwrap_or_else(Outcome::Refused),
            Self::Rotate(rotation) => match rotation.apply(key) {
                Ok(successor) => Outcome::Succeeded(Box::new(successor)),
                Err(refused) => Outcome::Refused(refused),
            },
        }
    }
}

impl Edit {
    /// An edit that changes nothing yet.
    pub fn new(by: Authorised, at: Timestamp) -> Self {
        Self {
            by,
            at,
            name: None,
            description: None,
            metadata: None,
            scopes: None,
            expires_at: None,
        }
    }

    fn apply(&self, key: &mut ApiKey) -> Result<Outcome, Refused> {
        if key.status == Status::Revoked {
            return Err(Refused::Revoked);
        }
        let mut edited = key.clone();
        if let Some(name) = &self.name {
            edited.name = name.clone();
        }
        if let Some(description) = &self.description {
            edited.details.description.clone_from(description);
        }
        if let Some(metadata) = &self.metadata {
            edited.details.metadata = metadata.clone();
        }
        if let Some(scopes) = &self.scopes {
            self.by.may_hand_on(scopes)?;
            edited.named_scopes = Some(scopes.clone());
        }
        if let Some(expires_at) = self.expires_at {
            // The end of grace is the end of a key that was rotated: it may come sooner, never later.
            let later =
                key.details.expires_at.is_some_and(|it| expires_at.is_none_or(|end| end > it));
            if later && key.details.rotated_to.is_some() {
                return Err(Refused::Rotated);
            }
            if later {
                self.by.may_hand_on(edited.scopes())?;
            }
            edited.details.expires_at = expires_at;
        }
        if edited == *key {
            return Ok(Outcome::Unchanged);
        }
        edited.updated_at = key.after(self.at);
        *key = edited;
        Ok(Outcome::Changed)
    }
}

impl Rotation {
    fn apply(&self, key: &mut ApiKey) -> Result<StoredKey, Refused> {
        let Details { expires_at, rotated_to, .. } = *key.details;
        if key.status == Status::Revoked {
            return Err(Refused::Revoked);
        }
        if key.expired_at(self.at) {
            return Err(Refused::Expired);
        }
        if rotated_to.is_some() {
            return Err(Refused::Rotated);
        }
        self.by.may_hand_on(key.scopes())?;
        // As long as the old key was to live from when it was made; but nobody hands on more time
        // than they have.
        let lifetime = expires_at.map(|end| end.since(key.created_at));
        let wanted = lifetime.map(|lifetime| self.at.plus(lifetime));
        let wanted = earlier(wanted, self.by.expires_at());
        let longest = self.policy.longest.map(|longest| self.at.plus(longest));
        let end = wanted.map(|end| longest.map_or(end, |latest| end.min(latest)));
        match end {
            None if self.policy.required => return Err(Refused::Endless),
            // It would be dead when it is made.
            Some(end) if end <= self.at => return Err(Refused::Expired),
            _ => {}
        }
        let successor = ApiKey {
            id: self.id,
            workspace_id: key.workspace_id,
            name: key.name.clone(),
            key_prefix: self.key_prefix.clone(),
            status: Status::Active,
            created_by: self.by.account(),
            created_at: self.at,
            updated_at: self.at,
            named_scopes: key.named_scopes.clone(),
            details: Details {
                description: key.details.description.clone(),
                metadata: key.details.metadata.clone(),
                expires_at: end,
                rotated_from: Some(key.id),
                ..Details::NONE
            }
            .into(),
        };
        key.details.rotated_to = Some(self.id);
        if self.grace.is_zero() {
            let by = Some(self.by.account());
            let reason = Some(Reason::Superseded);
            key.revoke(Revocation { at: self.at, by, reason });
        } else {
            key.details.expires_at = earlier(expires_at, Some(self.at.plus(self.grace)));
            key.updated_at = key.after(self.at);
        }
        Ok(StoredKey { key: successor, digest: self.digest })
    }
}

impl ApiKey {
    /// The time of a change: later than the one before, though the clock may have been set back.
    fn after(&self, at: Timestamp) -> Timestamp {
        at.max(self.updated_at.plus(Duration::from_micros(1)))
    }
}

/// The earlier of two ends, of which either may be never.
fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (end, None) | (None, end) => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Origin;
    use crate::caller::{Caller, Credential};
    use crate::scope::Permission;
    use crate::testing::key;

    const HOUR: Duration = Duration::from_hours(1);

    fn by(expires_at: Option<Timestamp>) -> Authorised {
        let key = key(1, 9);
        let scopes = Scopes::from_claim("api_keys:read api_keys:write a");
        let (account, credential) = (key.created_by, Credential::Key(key.id));
        let (workspaces, origin) = (vec![key.workspace_id], Origin::default());
        let caller = Caller { account, workspaces, scopes, credential, expires_at, origin };
        caller.authorise(key.workspace_id, Permission::Write).unwrap()
    }

    fn rotation(at: Timestamp, grace: Duration) -> Rotation {
        let new = key(1, 2);
        let digest = KeyDigest::from_bytes([2; 32]);
        let (policy, by) = (ExpiryPolicy::default(), by(None));
        Rotation { at, grace, by, policy, id: new.id, digest, key_prefix: new.key_prefix }
    }

    fn expiring(after: Duration) -> ApiKey {
        let mut key = key(1, 1);
        key.details.expires_at = Some(key.created_at.plus(after));
        key
    }

    fn successor(key: &mut ApiKey, rotation: Rotation) -> ApiKey {
        match Change::Rotate(Box::new(rotation)).apply(key) {
            Outcome::Succeeded(successor) => successor.key,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_successor_lives_as_long_as_its_predecessor_was_to_live() {
        let mut old = expiring(4 * HOUR);
        let at = old.created_at.plus(3 * HOUR);
        let new = successor(&mut old, rotation(at, 2 * HOUR));
        assert_eq!(new.details.expires_at, Some(at.plus(4 * HOUR)));
        // Grace makes no life longer.
        assert_eq!(old.details.expires_at, Some(old.created_at.plus(4 * HOUR)));
        let mut old = expiring(4 * HOUR);
        successor(&mut old, rotation(at, HOUR / 2));
        assert_eq!(old.details.expires_at, Some(at.plus(HOUR / 2)));
        assert_eq!(old.updated_at, at);
        let mut endless = key(1, 1);
        assert_eq!(successor(&mut endless, rotation(at, HOUR)).details.expires_at, None);
        assert_eq!(endless.details.expires_at, Some(at.plus(HOUR)));
    }

    #[test]
    fn a_successor_does_not_outlive_what_its_maker_and_the_operator_allow() {
        let at = key(1, 1).created_at.plus(HOUR);
        let soon = at.plus(HOUR / 2);
        let mut old = expiring(4 * HOUR);
        let bounded = Rotation { by: by(Some(soon)), ..rotation(at, HOUR) };
        assert_eq!(successor(&mut old, bounded).details.expires_at, Some(soon));
        let mut old = expiring(4 * HOUR);
        let policy = ExpiryPolicy { longest: Some(HOUR), required: true };
        let bounded = Rotation { policy, ..rotation(at, HOUR) };
        assert_eq!(successor(&mut old, bounded).details.expires_at, Some(at.plus(HOUR)));
        let mut endless = key(1, 1);
        let refused = Rotation { policy, ..rotation(at, HOUR) };
        let outcome = Change::Rotate(Box::new(refused)).apply(&mut endless);
        assert_eq!(outcome, Outcome::Refused(Refused::Endless));
        assert_eq!(endless, key(1, 1));
    }

    #[test]
    fn nobody_rotates_a_key_that_holds_more_than_they_do() {
        let mut wider = key(1, 1);
        wider.named_scopes = Some(Scopes::from_claim("a b"));
        let before = wider.clone();
        let rotation = rotation(wider.created_at, HOUR);
        let outcome = Change::Rotate(Box::new(rotation)).apply(&mut wider);
        let denied = Denied::MayNotGrant("b".parse().unwrap());
        assert_eq!(outcome, Outcome::Refused(Refused::Denied(denied)));
        assert_eq!(wider, before);
    }

    #[test]
    fn nobody_gives_more_time_to_a_key_that_holds_more_than_they_do() {
        let mut wider = expiring(HOUR);
        wider.named_scopes = Some(Scopes::from_claim("a b"));
        let before = wider.clone();
        let end = before.details.expires_at.unwrap();
        let edit = |end| Edit { expires_at: Some(end), ..Edit::new(by(None), before.updated_at) };
        for later in [None, Some(end.plus(HOUR))] {
            let outcome = Change::Edit(Box::new(edit(later))).apply(&mut wider);
            let denied = Denied::MayNotGrant("b".parse().unwrap());
            assert_eq!(outcome, Outcome::Refused(Refused::Denied(denied)));
            assert_eq!(wider, before);
        }
        // Less time is no gift.
        let sooner = Change::Edit(Box::new(edit(Some(before.created_at))));
        assert_eq!(sooner.apply(&mut wider), Outcome::Changed);
    }

    #[test]
    fn a_change_is_later_than_the_one_before_though_the_clock_was_set_back() {
        let mut key = key(1, 1);
        let back = Timestamp::from_micros(0).unwrap();
        let edit = Edit { name: KeyName::new("another").ok(), ..Edit::new(by(None), back) };
        let before = key.updated_at;
        assert_eq!(Change::Edit(Box::new(edit)).apply(&mut key), Outcome::Changed);
        assert_eq!(key.updated_at, before.plus(Duration::from_micros(1)));
    }
}
