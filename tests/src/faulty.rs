//! A store that pauses and fails when it is told to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use keyward_core::audit::{AuditLog, Trace};
use keyward_core::change::Change;
use keyward_core::clock::Timestamp;
use keyward_core::id::{KeyId, WorkspaceId};
use keyward_core::key::ApiKey;
use keyward_core::secret::KeyDigest;
use keyward_core::store::{
    Added, Addition, ChangeFeed, Changed, Filter, Imported, KeyPlace, KeyStore, ListPosition,
    StoreError, StoredKey, Use,
};
use tokio::sync::Semaphore;

/// A method of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`KeyStore::add`]
    Add,
    /// [`KeyStore::get`]
    Get,
    /// [`KeyStore::find`]
    Find,
    /// [`KeyStore::list`]
    List,
    /// [`KeyStore::change`]
    Change,
    /// [`KeyStore::record_uses`]
    RecordUses,
}

/// A moment of a call: before the store underneath has done its part, or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// Nothing was read or written yet.
    Before,
    /// All was read or written, and the answer is not given yet.
    After,
}

/// A store that does what the one underneath does, except for what a test arranged.
pub struct FaultyStore {
    inner: Arc<dyn KeyStore>,
    plans: Mutex<HashMap<(Call, Moment), Plan>>,
}

#[derive(Clone)]
enum Plan {
    FailOnce,
    Hold(Gate),
}

/// Where calls wait until the test lets them go on.
#[derive(Debug, Clone)]
pub struct Gate {
    arrivals: Arc<Semaphore>,
    passes: Arc<Semaphore>,
}

impl Gate {
    fn new() -> Self {
        Self { arrivals: Arc::new(Semaphore::new(0)), passes: Arc::new(Semaphore::new(0)) }
    }

    /// Waits until `calls` more calls stand at the gate.
    pub async fn reached_by(&self, calls: u32) {
        self.arrivals.acquire_many(calls).await.expect("a gate is never closed").forget();
    }

    /// Lets `calls` calls go on.
    pub fn let_pass(&self, calls: usize) {
        self.passes.add_permits(calls);
    }

    async fn pass(&self) {
        self.arrivals.add_permits(1);
        self.passes.acquire().await.expect("a gate is never closed").forget();
    }
}

impl FaultyStore {
    /// Wraps `inner`; nothing is arranged yet.
    pub fn over(inner: Arc<dyn KeyStore>) -> Arc<Self> {
        Arc::new(Self { inner, plans: Mutex::default() })
    }

    /// Makes the next `call` end in [`StoreError::Unavailable`] at that moment: before, and nothing
    /// was done; after, and all was done.
    pub fn fail_once(&self, call: Call, moment: Moment) {
        self.plan(call, moment, Plan::FailOnce);
    }

    /// Makes each `call` wait at a gate at that moment, until [`FaultyStore::free`].
    pub fn hold(&self, call: Call, moment: Moment) -> Gate {
        let gate = Gate::new();
        self.plan(call, moment, Plan::Hold(gate.clone()));
        gate
    }

    /// Takes the arrangement back for calls that have not come to it yet.
    pub fn free(&self, call: Call, moment: Moment) {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).remove(&(call, moment));
    }

    fn plan(&self, call: Call, moment: Moment, plan: Plan) {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).insert((call, moment), plan);
    }

    async fn come_to(&self, call: Call, moment: Moment) -> Result<(), StoreError> {
        let plan = {
            let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
            match plans.get(&(call, moment)).cloned() {
                Some(Plan::FailOnce) => plans.remove(&(call, moment)),
                other => other,
            }
        };
        match plan {
            Some(Plan::FailOnce) => Err(StoreError::Unavailable("as the test arranged".into())),
            Some(Plan::Hold(gate)) => {
                gate.pass().await;
                Ok(())
            }
            None => Ok(()),
        }
    }

    async fn around<T>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.come_to(call, Moment::Before).await?;
        let outcome = work.await?;
        self.come_to(call, Moment::After).await?;
        Ok(outcome)
    }
}

#[async_trait]
impl KeyStore for FaultyStore {
    fn feed(&self) -> Option<&dyn ChangeFeed> {
        self.inner.feed()
    }

    fn audit(&self) -> &dyn AuditLog {
        self.inner.audit()
    }

    async fn add(&self, addition: Addition) -> Result<Added, StoreError> {
        self.around(Call::Add, self.inner.add(addition)).await
    }

    async fn get(
        &self,
        workspace: WorkspaceId,
        id: KeyId,
    ) -> Result<Option<StoredKey>, StoreError> {
        self.around(Call::Get, self.inner.get(workspace, id)).await
    }

    async fn find(&self, digest: &KeyDigest) -> Result<Option<ApiKey>, StoreError> {
        self.around(Call::Find, self.inner.find(digest)).await
    }

    async fn list(
        &self,
        workspace: WorkspaceId,
        filter: &Filter,
        after: Option<ListPosition>,
        limit: usize,
    ) -> Result<Vec<ApiKey>, StoreError> {
        self.around(Call::List, self.inner.list(workspace, filter, after, limit)).await
    }

    async fn change(
        &self,
        workspace: WorkspaceId,
        id: KeyId,
        change: &Change,
        trace: &Trace,
    ) -> Result<Option<Changed>, StoreError> {
        self.around(Call::Change, self.inner.change(workspace, id, change, trace)).await
    }

    async fn scan(&self, after: Option<KeyId>, limit: usize) -> Result<Vec<StoredKey>, StoreError> {
        self.inner.scan(after, limit).await
    }

    async fn import(&self, records: &[StoredKey]) -> Result<Imported, StoreError> {
        self.inner.import(records).await
    }

    async fn record_uses(&self, uses: &[Use]) -> Result<(), StoreError> {
        self.around(Call::RecordUses, self.inner.record_uses(uses)).await
    }

    async fn last_uses(&self, keys: &[KeyPlace]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        self.inner.last_uses(keys).await
    }

    async fn seal(&self, sealed: bool) -> Result<(), StoreError> {
        self.inner.seal(sealed).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.inner.ready().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}
