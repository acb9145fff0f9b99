//! A service over a store, as the server puts it together, without the server.

use std::sync::Arc;
use std::time::Duration;

use keyward_core::audit::Origin;
use keyward_core::caller::{Authorised, Caller, Credential};
use keyward_core::clock::{Reading, Sleep, SystemClock, SystemEntropy, Timer};
use keyward_core::freshness::Follower;
use keyward_core::id::WorkspaceId;
use keyward_core::key::{ApiKey, KeyName};
use keyward_core::scope::{Permission, Scopes};
use keyward_core::service::{Created, Keys, KeysError, NewKey, Rules};
use keyward_core::store::KeyStore;
use keyward_core::verify::{Bounds, Refusal, Verdict, Verifier, VerifyError};

use tokio::task::JoinHandle;

use crate::records::{format, id, workspace};
use crate::wait::PATIENCE;

/// The service and the verifier of one workspace.
#[derive(Clone)]
pub struct Service {
    keys: Arc<Keys>,
    verifier: Arc<Verifier>,
    #[expect(dead_code, reason = "it ends with the last of those that hold it")]
    following: Option<Arc<Following>>,
    workspace: WorkspaceId,
}

/// The clocks of the machine and the timers of the runtime.
struct TokioTimer;

impl Timer for TokioTimer {
    fn read(&self) -> Reading {
        Reading::now()
    }

    fn sleep(&self, time: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(time))
    }
}

/// The task that polls a shared store. It ends with this value.
struct Following(JoinHandle<()>);

impl Following {
    fn start(mut follower: Follower, store: Arc<dyn KeyStore>) -> Self {
        Self(tokio::spawn(async move {
            let feed = store.feed().expect("a store that is followed has a feed");
            loop {
                let due = follower.due().await;
                match feed.poll(due.after).await {
                    Ok(poll) => drop(follower.apply(due, &poll)),
                    Err(_) => follower.fail(),
                }
            }
        }))
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
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
    pub async fn over(
        store: Arc<dyn KeyStore>,
        cache_entries: usize,
        miss_concurrency: usize,
    ) -> Self {
        let bounds = Bounds { cache_entries, miss_concurrency, freshness_wait: PATIENCE };
        let timer = Arc::new(TokioTimer);
        let (verifier, follower) =
            Verifier::new(Arc::clone(&store), format(), bounds, Arc::clone(&timer) as _);
        let verifier = Arc::new(verifier);
        let following = follower.map(|it| Arc::new(Following::start(it, Arc::clone(&store))));
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let judge = Arc::clone(&verifier);
        let keys = Keys::new(store, judge, format(), Rules::default(), clock, timer, entropy);
        // From here on, what is looked up is remembered.
        verifier.ready().await.expect("the store can be polled");
        Self { keys: Arc::new(keys), verifier, following, workspace: workspace() }
    }

    /// Makes a key.
    pub async fn create(&self) -> Result<Issued, KeysError> {
        let name = KeyName::new("CI/CD Pipeline Key").expect("the name is good");
        match self.keys.create(&self.caller(), NewKey::named(name), None).await? {
            Created::New(key, plain) => Ok(Issued { key: *key, plain: plain.reveal().to_string() }),
            Created::Before(_) => panic!("the request had no name"),
        }
    }

    /// Revokes a key that the service made.
    pub async fn revoke(&self, issued: &Issued) -> Result<ApiKey, KeysError> {
        let revoked = self.keys.revoke(&self.caller(), issued.key.id, None).await?;
        Ok(revoked.expect("the service made the key"))
    }

    /// Verifies a presented key.
    pub async fn verify(&self, presented: &str) -> Result<Answer, VerifyError> {
        Ok(match self.verifier.verify(presented).await? {
            Verdict::Accepted(_) => Answer::Accepted,
            Verdict::Refused(refusal) => Answer::Refused(refusal),
        })
    }

    /// How many records are remembered.
    pub fn remembered(&self) -> usize {
        self.verifier.cache().len()
    }

    fn caller(&self) -> Authorised {
        let caller = Caller {
            account: id(77),
            workspaces: vec![self.workspace],
            scopes: Scopes::from_claim("api_keys:read api_keys:write"),
            credential: Credential::Token,
            expires_at: None,
            origin: Origin::default(),
        };
        caller.authorise(self.workspace, Permission::Write).expect("the caller has the scope")
    }
}
