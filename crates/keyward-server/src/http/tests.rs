//! What no client of the real binary can bring about: a store that stalls, fails or panics at a
//! chosen moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use keyward_core::audit::{AuditLog, Trace};
use keyward_core::change::Change;
use keyward_core::clock::{Clock as _, SystemClock, SystemEntropy, Timestamp};
use keyward_core::id::{KeyId, WorkspaceId};
use keyward_core::key::ApiKey;
use keyward_core::memory::MemoryStore;
use keyward_core::secret::{KeyDigest, KeyFormat};
use keyward_core::service::{Keys, Rules};
use keyward_core::store::{
    Added, Addition, ChangeFeed, Changed, Filter, Imported, KeyPlace, KeyStore, ListPosition,
    StoreError, StoredKey, Use,
};
use keyward_core::verify::{Bounds, Verifier};
use serde_json::{Value, json};
use tokio::sync::Notify;
use warp::http::{Request, StatusCode};
use warp::reply::Response;

use super::{App, Front, Limits, Metrics, TrustedProxies};
use crate::timer::SystemTimer;
use crate::token::{Mint, Secrets, TokenOptions, Tokens, mint};

const WORKSPACE: &str = "660e8400-e29b-41d4-a716-446655440000";

/// A store in memory whose calls can be made to wait, fail or panic.
#[derive(Default)]
struct FaultyStore {
    inner: MemoryStore,
    /// While set, a revocation that has been written waits for `proceed` before it answers.
    stalls_after_revoking: AtomicBool,
    /// Pages of a list that are still answered.
    pages_left: Option<AtomicUsize>,
    stalls_at_finding: bool,
    fails_at_finding: bool,
    panics_at_finding: bool,
    revoked: Notify,
    proceed: Notify,
}

#[async_trait]
impl KeyStore for FaultyStore {
    fn feed(&self) -> Option<&dyn ChangeFeed> {
        None
    }

    fn audit(&self) -> &dyn AuditLog {
        self.inner.audit()
    }

    async fn add(&self, addition: Addition) -> Result<Added, StoreError> {
        self.inner.add(addition).await
    }

    async fn get(
        &self,
        workspace: WorkspaceId,
        id: KeyId,
    ) -> Result<Option<StoredKey>, StoreError> {
        self.inner.get(workspace, id).await
    }

    async fn find(&self, digest: &KeyDigest) -> Result<Option<ApiKey>, StoreError> {
        assert!(!self.panics_at_finding, "a fault of the store");
        if self.fails_at_finding {
            return Err(StoreError::Unavailable("a fault of the store".into()));
        }
        if self.stalls_at_finding {
            std::future::pending::<()>().await;
        }
        self.inner.find(digest).await
    }

    async fn list(
        &self,
        workspace: WorkspaceId,
        filter: &Filter,
        after: Option<ListPosition>,
        limit: usize,
    ) -> Result<Vec<ApiKey>, StoreError> {
        let less = |left: usize| left.checked_sub(1);
        let order = Ordering::SeqCst;
        if self.pages_left.as_ref().is_some_and(|n| n.fetch_update(order, order, less).is_err()) {
            return Err(StoreError::Unavailable("a fault of the store".into()));
        }
        self.inner.list(workspace, filter, after, limit).await
    }

    async fn change(
        &self,
        workspace: WorkspaceId,
        id: KeyId,
        change: &Change,
        trace: &Trace,
    ) -> Result<Option<Changed>, StoreError> {
        let changed = self.inner.change(workspace, id, change, trace).await;
        if self.stalls_after_revoking.load(Ordering::SeqCst) {
            self.revoked.notify_one();
            self.proceed.notified().await;
        }
        changed
    }

    async fn scan(&self, after: Option<KeyId>, limit: usize) -> Result<Vec<StoredKey>, StoreError> {
        self.inner.scan(after, limit).await
    }

    async fn import(&self, records: &[StoredKey]) -> Result<Imported, StoreError> {
        self.inner.import(records).await
    }

    async fn record_uses(&self, uses: &[Use]) -> Result<(), StoreError> {
        self.inner.record_uses(uses).await
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

/// A server without sockets.
struct Server {
    front: Arc<Front>,
    token: String,
}

impl Server {
    async fn over(store: Arc<FaultyStore>) -> Self {
        let secrets = Secrets::parse("0123456789abcdef0123456789abcdef").unwrap();
        let token = mint(
            &secrets,
            &Mint {
                workspaces: vec![WORKSPACE.parse().unwrap()],
                account: None,
                scopes: None,
                ttl: Duration::from_hours(1),
                now: SystemClock.now(),
            },
        );
        let options = TokenOptions { secrets: Some(secrets), ..TokenOptions::default() };
        let format = KeyFormat::new("sk_live").unwrap();
        let store: Arc<dyn KeyStore> = store;
        let freshness_wait = Duration::from_secs(1);
        let bounds = Bounds { cache_entries: 100, miss_concurrency: 100, freshness_wait };
        let (verifier, _) =
            Verifier::new(Arc::clone(&store), format.clone(), bounds, Arc::new(SystemTimer));
        let verifier = Arc::new(verifier);
        let keys = Keys::new(
            Arc::clone(&store),
            Arc::clone(&verifier),
            format.clone(),
            Rules::default(),
            Arc::new(SystemClock),
            Arc::new(SystemTimer),
            Arc::new(SystemEntropy),
        );
        let app = App {
            keys: Arc::new(keys),
            verifier,
            store,
            tokens: Tokens::open(options, Arc::new(SystemClock)).await.unwrap(),
            metrics: Metrics::new("faulty").unwrap(),
            limits: Limits { body: 65536, headers: 32768, time: Duration::from_secs(5) },
        };
        let proxies = TrustedProxies::default();
        let front = Front::new(Arc::new(app), format, proxies, &SystemEntropy).unwrap();
        let front = Arc::new(front);
        Self { front, token: token.unwrap() }
    }

    async fn send(&self, method: &str, path: &str, credential: &str, body: &str) -> Response {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {credential}"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .unwrap();
        self.front.meet(([127, 0, 0, 1], 1).into()).answer(request).await
    }

    async fn manage(&self, method: &str, path: &str, body: &str) -> Response {
        let path = format!("/api/v1/workspaces/{WORKSPACE}/api-keys{path}");
        self.send(method, &path, &self.token, body).await
    }

    async fn create(&self) -> (String, String) {
        let created = body(self.manage("POST", "", r#"{"name":"a key"}"#).await).await;
        let text = |field: &str| created[field].as_str().unwrap().to_owned();
        (text("id"), text("key"))
    }

    async fn auth(&self, key: &str) -> StatusCode {
        self.send("GET", "/api/v1/auth", key, "").await.status()
    }
}

async fn body(response: Response) -> Value {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_delete_leaves_no_key_in_memory() {
    let store = Arc::new(FaultyStore::default());
    let server = Server::over(Arc::clone(&store)).await;
    let (id, key) = server.create().await;
    assert_eq!(server.auth(&key).await, StatusCode::OK);

    store.stalls_after_revoking.store(true, Ordering::SeqCst);
    let path = format!("/{id}");
    tokio::select! {
        _ = server.manage("DELETE", &path, "") => panic!("the revocation did not wait"),
        () = store.revoked.notified() => {}
    }
    // The client's future is gone, and the write is made; what follows it must follow all the same.
    store.proceed.notify_one();
    let forgotten = async {
        while server.auth(&key).await == StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_mins(1);
    assert!(tokio::time::timeout(limit, forgotten).await.is_ok(), "the key is still accepted");
    assert_eq!(server.auth(&key).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stalls_is_answered_for_at_the_deadline() {
    let store = FaultyStore { stalls_at_finding: true, ..FaultyStore::default() };
    let server = Server::over(Arc::new(store)).await;
    let (_, key) = server.create().await;
    let began = tokio::time::Instant::now();
    let response = server.send("GET", "/api/v1/auth", &key, "").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn a_store_that_fails_makes_a_key_neither_good_nor_bad() {
    let store = FaultyStore { fails_at_finding: true, ..FaultyStore::default() };
    let server = Server::over(Arc::new(store)).await;
    let (_, key) = server.create().await;
    assert_eq!(server.auth(&key).await, StatusCode::SERVICE_UNAVAILABLE);
    let asked = json!({ "key": key }).to_string();
    let verdict = server.send("POST", "/api/v1/api-keys/verify", "", &asked).await;
    assert_eq!(verdict.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(server.auth("sk_live_nonsense").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_panic_is_a_500_and_says_nothing() {
    let store = FaultyStore { panics_at_finding: true, ..FaultyStore::default() };
    let server = Server::over(Arc::new(store)).await;
    let (_, key) = server.create().await;
    let response = server.send("GET", "/api/v1/auth", &key, "").await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let problem = body(response).await;
    assert_eq!(problem["type"], "/problems/internal");
    assert!(!problem.to_string().contains("fault of the store"), "{problem}");
}

#[tokio::test]
async fn a_list_that_cannot_be_finished_breaks_off() {
    let store = FaultyStore { pages_left: Some(2.into()), ..FaultyStore::default() };
    let server = Server::over(Arc::new(store)).await;
    for _ in 0..600 {
        server.create().await;
    }
    let response = server.manage("GET", "", "").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.into_body().collect().await.is_err());
}
