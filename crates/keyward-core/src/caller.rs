//! Who asks, and the proof that they may.

use crate::audit::Origin;
use crate::clock::Timestamp;
use crate::id::{AccountId, KeyId, WorkspaceId};
use crate::key::ApiKey;
use crate::scope::{Permission, Scope, Scopes};

/// What a caller identified itself with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// A signed token (JWT), issued by an identity provider or with the local secret.
    Token,
    /// The API key with this id.
    Key(KeyId),
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// For whom the call is made; becomes `created_by`.
    pub account: AccountId,
    /// The workspaces that it may act in.
    pub workspaces: Vec<WorkspaceId>,
    /// What it may do there.
    pub scopes: Scopes,
    /// What it identified itself with.
    pub credential: Credential,
    /// When that ends, where it is an API key that does. What it makes ends no later.
    pub expires_at: Option<Timestamp>,
    /// Where the call comes from.
    pub origin: Origin,
}

/// Why a caller, though authenticated, may not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The credential is good for other workspaces than the one asked for.
    #[error("the credential is not valid for this workspace")]
    OtherWorkspace,
    /// The call needs a scope that the credential lacks.
    #[error("the credential lacks the scope {}", .0.scope())]
    Lacks(Permission),
    /// A scope was to be granted that the caller may not grant, because it does not hold it.
    #[error("the credential may not grant the scope {0}, which it does not hold")]
    MayNotGrant(Scope),
    /// A key was to be good for longer than the key that the caller showed.
    #[error("the credential may not grant a later expiry than its own, {0}")]
    MayNotOutlive(Timestamp),
}

impl Denied {
    /// The scope that would have been enough, where it is a scope that was lacking.
    pub fn scope(&self) -> Option<&str> {
        match self {
            Self::OtherWorkspace | Self::MayNotOutlive(_) => None,
            Self::Lacks(permission) => Some(permission.scope()),
            Self::MayNotGrant(scope) => Some(scope.as_str()),
        }
    }
}

/// A caller that may do a certain thing in one workspace. [`Caller::authorise`] and
/// [`Caller::authorise_revocation`] are the only ways to one, so that no call reaches the store
/// without having been judged.
#[derive(Debug, Clone)]
pub struct Authorised {
    caller: Caller,
    workspace: WorkspaceId,
}

impl Caller {
    /// The caller that a verified API key is: it acts for the account that created it.
    pub fn from_key(key: &ApiKey) -> Self {
        Self {
            account: key.created_by,
            workspaces: vec![key.workspace_id],
            scopes: key.scopes().clone(),
            credential: Credential::Key(key.id),
            expires_at: key.details.expires_at,
            origin: Origin::default(),
        }
    }

    /// Judges whether the caller has `permission` in `workspace`.
    ///
    /// # Errors
    ///
    /// The workspace is judged before the scope.
    pub fn authorise(
        self,
        workspace: WorkspaceId,
        permission: Permission,
    ) -> Result<Authorised, Denied> {
        let caller = self.within(workspace)?;
        if caller.scopes.grant(permission) {
            Ok(Authorised { caller, workspace })
        } else {
            Err(Denied::Lacks(permission))
        }
    }

    /// Judges whether the caller may revoke the key `id` of `workspace`: with
    /// [`Permission::Write`], or because it is that key.
    ///
    /// # Errors
    ///
    /// As for [`Caller::authorise`].
    pub fn authorise_revocation(
        self,
        workspace: WorkspaceId,
        id: KeyId,
    ) -> Result<Authorised, Denied> {
        if self.credential == Credential::Key(id) {
            let caller = self.within(workspace)?;
            return Ok(Authorised { caller, workspace });
        }
        self.authorise(workspace, Permission::Write)
    }

    fn within(self, workspace: WorkspaceId) -> Result<Self, Denied> {
        if self.workspaces.contains(&workspace) { Ok(self) } else { Err(Denied::OtherWorkspace) }
    }
}

impl Authorised {
    /// The workspace for which the caller was judged.
    pub fn workspace(&self) -> WorkspaceId {
        self.workspace
    }

    /// The account that the caller acts for.
    pub fn account(&self) -> AccountId {
        self.caller.account
    }

    /// The API key that was shown as the credential, if it was one.
    pub fn credential(&self) -> Option<KeyId> {
        match self.caller.credential {
            Credential::Token => None,
            Credential::Key(id) => Some(id),
        }
    }

    /// Where the call comes from.
    pub fn origin(&self) -> &Origin {
        &self.caller.origin
    }

    /// The scopes to record on a new key when `named` were asked for.
    ///
    /// A token may grant any scope outside Keyward's own namespace, and inside it those that it
    /// holds; a key grants only what it holds. Where no scopes were named the key gets the
    /// default, cut to what the caller holds, so that a key never mints more than itself.
    ///
    /// # Errors
    ///
    /// [`Denied::MayNotGrant`] with the first scope that is too much.
    pub fn grantable(&self, named: Option<Scopes>) -> Result<Option<Scopes>, Denied> {
        let held = &self.caller.scopes;
        let Some(named) = named else {
            let whole = Scopes::default_for_keys().first_outside(held).is_none();
            return Ok(if whole { None } else { Some(Scopes::default()) });
        };
        self.may_hand_on(&named)?;
        Ok(Some(named))
    }

    /// Judges whether the caller may make a key that holds these scopes.
    ///
    /// # Errors
    ///
    /// [`Denied::MayNotGrant`] with the first scope that is too much.
    pub fn may_hand_on(&self, scopes: &Scopes) -> Result<(), Denied> {
        let held = &self.caller.scopes;
        let too_much = match self.caller.credential {
            Credential::Token => scopes.first_own_outside(held),
            Credential::Key(_) => scopes.first_outside(held),
        };
        too_much.map_or(Ok(()), |scope| Err(Denied::MayNotGrant(scope.clone())))
    }

    /// Whether what the caller showed is the key `id` itself.
    pub fn is_key(&self, id: KeyId) -> bool {
        self.caller.credential == Credential::Key(id)
    }

    /// When what the caller makes must end at the latest; `None` for never.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.caller.expires_at
    }

    /// The expiry to record on a key when `wanted` was asked for; where nothing was, the caller's
    /// own.
    ///
    /// # Errors
    ///
    /// [`Denied::MayNotOutlive`] where it is later than the caller's own.
    pub fn expiry(&self, wanted: Option<Timestamp>) -> Result<Option<Timestamp>, Denied> {
        match (wanted, self.caller.expires_at) {
            (Some(wanted), Some(own)) if wanted > own => Err(Denied::MayNotOutlive(own)),
            (wanted, own) => Ok(wanted.or(own)),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id<T: From<Uuid>>(n: u128) -> T {
        Uuid::from_u128(n).into()
    }

    fn caller(scopes: &str, credential: Credential) -> Caller {
        Caller {
            account: id(1),
            workspaces: vec![id(10), id(11)],
            scopes: Scopes::from_claim(scopes),
            credential,
            expires_at: None,
            origin: Origin::default(),
        }
    }

    fn token(scopes: &str) -> Caller {
        caller(scopes, Credential::Token)
    }

    fn key(scopes: &str) -> Caller {
        caller(scopes, Credential::Key(id(5)))
    }

    #[test]
    fn the_workspace_is_judged_before_the_scope() {
        let denied = |workspace, scopes| token(scopes).authorise(workspace, Permission::Read).err();
        assert_eq!(denied(id(10), "api_keys:read"), None);
        assert_eq!(denied(id(11), "api_keys:read"), None);
        assert_eq!(denied(id(12), "api_keys:read"), Some(Denied::OtherWorkspace));
        assert_eq!(denied(id(12), ""), Some(Denied::OtherWorkspace));
        assert_eq!(denied(id(10), "api_keys:write"), Some(Denied::Lacks(Permission::Read)));
    }

    #[test]
    fn a_key_revokes_itself_and_without_the_scope_no_other() {
        assert!(key("").authorise_revocation(id(10), id(5)).is_ok());
        let other = key("").authorise_revocation(id(10), id(6)).err();
        assert_eq!(other, Some(Denied::Lacks(Permission::Write)));
        let elsewhere = key("").authorise_revocation(id(12), id(5)).err();
        assert_eq!(elsewhere, Some(Denied::OtherWorkspace));
        assert!(key("api_keys:write").authorise_revocation(id(10), id(6)).is_ok());
    }

    #[test]
    fn nobody_grants_more_than_they_may() {
        let grant = |caller: Caller, named: Option<&str>| {
            caller
                .authorise(id(10), Permission::Write)
                .unwrap()
                .grantable(named.map(Scopes::from_claim))
                .map(|scopes| scopes.map(|scopes| scopes.to_string()))
        };
        let both = "api_keys:read api_keys:write";
        let write = "api_keys:write orders:read";

        assert_eq!(grant(token(both), None), Ok(None));
        assert_eq!(grant(token(write), None), Ok(Some(String::new())));
        assert_eq!(grant(key(write), None), Ok(Some(String::new())));
        assert_eq!(grant(key(both), None), Ok(None));
        assert_eq!(grant(token(both), Some("")), Ok(Some(String::new())));
        assert_eq!(grant(token(write), Some("any:thing")), Ok(Some("any:thing".into())));
        assert_eq!(grant(key(write), Some("orders:read")), Ok(Some("orders:read".into())));
        for (caller, named, scope) in [
            (token(write), "api_keys:read", "api_keys:read"),
            (key(write), "api_keys:read", "api_keys:read"),
            (key(write), "any:thing orders:read", "any:thing"),
        ] {
            let denied = Denied::MayNotGrant(scope.parse().unwrap());
            assert_eq!(grant(caller, Some(named)), Err(denied));
        }
    }
}
