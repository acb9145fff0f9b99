//! A service over a store, as the server puts it together, without the server.

use std::sync::Arc;

use keyward_core::caller::{Authorised, Caller, Credential};
use keyward_core::clock::{SystemClock, SystemEntropy};
use keyward_core::id::WorkspaceId;
use keyward_core::key::{ApiKey, KeyName};
use keyward_core::scope::{Permission, Scopes};
use keyward_core::service::{Keys, KeysError, NewKey};
use keyward_core::store::{KeyStore, StoreError};
use keyward_core::verify::{Refusal, Verdict, Verifier, VerifyError};

use crate::records::{format, id, workspace};

/// The service and the verifier of one workspace.
#[derive(Clone)]
pub struct Service {
    exclusive: bool,
    keys: Arc<Keys>,
    verifier: Arc<Verifier>,
    workspace: WorkspaceId,
}

/// A key that the service made.
#[derive(Debug, Clone)]
pub struct Issued {
    /// Its record.
    pub key: ApiKey,
    /// What a verifier is shown.
    pub plain: String,
}

/// What a verification found out, without the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The key is good.
    Accepted,
    /// The key is not good.
    Refused(Refusal),
}

impl Service {
    /// A service over `store` that remembers up to `cache_entries` records and has at most
    /// `miss_concurrency` lookups under way.
    pub fn over(store: Arc<dyn KeyStore>, cache_entries: usize, miss_concurrency: usize) -> Self {
        let exclusive = store.exclusive();
        let verifier = Verifier::new(Arc::clone(&store), format(), cache_entries, miss_concurrency);
        let verifier = Arc::new(verifier);
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let keys = Keys::new(store, Arc::clone(&verifier), format(), clock, entropy);
        Self { exclusive, keys: Arc::new(keys), verifier, workspace: workspace() }
    }

    /// Makes a key.
    pub async fn create(&self) -> Result<Issued, KeysError> {
        let name = KeyName::new("CI/CD Pipeline Key").expect("the name is good");
        let new = NewKey { name, scopes: None };
        let (key, plain) = self.keys.create(&self.caller(), new).await?;
        Ok(Issued { key, plain: plain.reveal().to_string() })
    }

    /// Revokes a key that the service made.
    pub async fn revoke(&self, issued: &Issued) -> Result<ApiKey, StoreError> {
        let revoked = self.keys.revoke(&self.caller(), issued.key.id).await?;
        Ok(revoked.expect("the service made the key"))
    }

    /// Verifies a presented key.
    pub async fn verify(&self, presented: &str) -> Result<Answer, VerifyError> {
        Ok(match self.verifier.verify(presented).await? {
            Verdict::Accepted(_) => Answer::Accepted,
            Verdict::Refused(refusal) => Answer::Refused(refusal),
        })
    }

    /// Whether records are remembered between verifications. Those of a shared store may have changed
    /// meanwhile, so it is asked every time.
    pub fn has_memory(&self) -> bool {
        self.exclusive
    }

    /// How many records are remembered.
    pub fn remembered(&self) -> usize {
        self.verifier.remembered()
    }

    fn caller(&self) -> Authorised {
        let caller = Caller {
            account: id(77),
            workspaces: vec![self.workspace],
            scopes: Scopes::from_claim("api_keys:read api_keys:write"),
            credential: Credential::Token,
        };
        caller.authorise(self.workspace, Permission::Write).expect("the caller has the scope")
    }
}
