//! `kill -9` under concurrent creates and revocations.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use keyward_tests::launch::{Launch, Storage};
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant, parse};
use keyward_tests::tokens;
use keyward_tests::wait::eventually;
use tokio::task::JoinSet;
use uuid::Uuid;

const ROUNDS: usize = 20;
const WRITERS: usize = 8;

/// What a client knows of a key whose creation was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nobody asked for its revocation.
    Active,
    /// Its revocation was asked for and not answered.
    AskedFor,
    /// Its revocation was answered.
    Revoked,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_outlives_twenty_kills() {
    let launch = Launch::on(Storage::new());
    let mut server = launch.start().await;
    let tenant = server.tenant();
    let mut known = HashMap::new();
    for _ in 0..ROUNDS {
        let round = work_until_killed(server, &tenant).await;
        assert!(!round.is_empty(), "nothing was answered before the kill");
        server = launch.start().await;
        let tenant = tenant.on(server.client());
        for (key, state) in &round {
            check(&tenant, key, *state).await;
        }
        known.extend(round.into_iter().map(|(key, state)| (key.id, (key, state))));
        check_list(&tenant, &known).await;
    }
    // What was kept over one crash is kept over all of them; and what is not revoked can be.
    let tenant = tenant.on(server.client());
    for (key, state) in known.values() {
        check(&tenant, key, *state).await;
        tenant.revoke(key.id).await;
        assert_eq!(tenant.verdict(key.raw()).await, "revoked");
    }
}

/// Creates and revokes from several clients until a number of answers has come, then kills the server
/// in the midst of it. Returns what the clients know.
async fn work_until_killed(server: Server, tenant: &Tenant) -> Vec<(KeyObject, Known)> {
    let known = Arc::new(Mutex::new(Vec::new()));
    let answers = Arc::new(AtomicUsize::new(0));
    let killed = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        let tenant = tenant.on(server.client());
        let writer = Writer { tenant, known: known.clone(), answers: answers.clone() };
        let killed = Arc::clone(&killed);
        writers.spawn(async move {
            while !killed.load(Ordering::SeqCst) {
                writer.create_and_maybe_revoke(n % 2 == 0).await;
            }
        });
    }
    let enough = 40 + usize::from(tokens::random::<1>()[0]);
    eventually("the clients are answered", async || answers.load(Ordering::SeqCst) >= enough).await;
    server.kill().await;
    killed.store(true, Ordering::SeqCst);
    writers.join_all().await;
    let known = known.lock().unwrap_or_else(PoisonError::into_inner);
    known.clone()
}

struct Writer {
    tenant: Tenant,
    known: Arc<Mutex<Vec<(KeyObject, Known)>>>,
    answers: Arc<AtomicUsize>,
}

impl Writer {
    async fn create_and_maybe_revoke(&self, revoke: bool) {
        let request = self.tenant.request("POST").json(r#"{"name":"a"}"#);
        let Ok(answer) = request.try_send().await else { return };
        let key: KeyObject = parse(&answer.expect(201));
        self.answers.fetch_add(1, Ordering::SeqCst);
        let at = self.remember(key.clone());
        if revoke {
            self.set(at, Known::AskedFor);
            let path = self.tenant.key_path(key.id);
            let request = self.tenant.client().delete(&path).bearer(self.tenant.token());
            let Ok(answer) = request.try_send().await else { return };
            answer.expect(200);
            self.set(at, Known::Revoked);
            self.answers.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn remember(&self, key: KeyObject) -> usize {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.push((key, Known::Active));
        known.len() - 1
    }

    fn set(&self, at: usize, state: Known) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)[at].1 = state;
    }
}

/// Verification and forward-auth say of the key what the client was told of it.
async fn check(tenant: &Tenant, key: &KeyObject, state: Known) {
    let verdict = tenant.verdict(key.raw()).await;
    match state {
        Known::Active => assert_eq!(verdict, "valid", "its creation was answered"),
        Known::Revoked => assert_eq!(verdict, "revoked", "its revocation was answered"),
        Known::AskedFor => assert!(verdict == "valid" || verdict == "revoked", "{verdict}"),
    }
    let status = if verdict == "valid" { 200 } else { 401 };
    assert_eq!(tenant.auth(key.raw()).await, status);
}

/// The list has every key whose creation was answered, once, and in the state that verification
/// finds it in.
async fn check_list(tenant: &Tenant, known: &HashMap<Uuid, (KeyObject, Known)>) {
    let list = tenant.list().await;
    let listed: HashMap<Uuid, &KeyObject> = list.iter().map(|key| (key.id, key)).collect();
    assert_eq!(listed.len(), list.len(), "a key is listed twice");
    assert!(list.is_sorted_by_key(KeyObject::place));
    for (key, state) in known.values() {
        let listed = listed.get(&key.id).unwrap_or_else(|| panic!("{} is not listed", key.id));
        let expected = match state {
            Known::Active => "active",
            Known::AskedFor if tenant.verdict(key.raw()).await == "valid" => "active",
            Known::AskedFor | Known::Revoked => "revoked",
        };
        assert_eq!(listed.status, expected);
        let unchanged = KeyObject {
            status: listed.status.clone(),
            updated_at: listed.updated_at.clone(),
            ..key.clone().without_raw()
        };
        assert_eq!(**listed, unchanged);
    }
}
