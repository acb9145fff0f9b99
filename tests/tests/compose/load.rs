//! Clients at work: each makes keys, has them verified, revokes them and has them verified again.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use keyward_tests::client::{Answer, Client, Request};
use keyward_tests::deployment::Deployment;
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant, parse};
use serde_json::json;
use tokio::task::JoinSet;

/// Clients that work until they are told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    workers: JoinSet<Worker>,
}

/// What the clients have seen.
#[derive(Default)]
pub struct Seen {
    /// Requests that were answered.
    pub answered: usize,
    /// Requests that were not, or with a status of 500 or more.
    pub failures: Vec<Failure>,
}

/// A request that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Whose it was.
    pub client: usize,
    /// The call.
    pub call: &'static str,
    /// When it was sent.
    pub began: Instant,
    /// What came back.
    #[expect(dead_code, reason = "it is read where a failure is printed")]
    pub answer: String,
}

impl Load {
    /// Starts so many clients of the deployment. Each has one connection and one workspace.
    pub fn start(deployment: &Deployment, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        for client in 0..clients {
            let tenant = Server::of(deployment.clone()).tenant();
            let worker = Worker { client, tenant, seen: Seen::default(), acknowledged: Vec::new() };
            workers.spawn(worker.until(Arc::clone(&stop)));
        }
        Self { stop, workers }
    }

    /// Stops the clients, looks whether all that was acknowledged is there, and once, and returns
    /// what they have seen.
    pub async fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for worker in self.workers.join_all().await {
            worker.assert_kept().await;
            all.answered += worker.seen.answered;
            all.failures.extend(worker.seen.failures);
        }
        all
    }
}

struct Worker {
    client: usize,
    tenant: Tenant,
    seen: Seen,
    /// The names of the keys whose creation was answered.
    acknowledged: Vec<String>,
}

impl Worker {
    async fn until(mut self, stop: Arc<AtomicBool>) -> Self {
        for n in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            self.a_key_lives_and_dies(format!("key {n}")).await;
        }
        self
    }

    async fn a_key_lives_and_dies(&mut self, name: String) {
        let create = self.tenant.request("POST").json(json!({ "name": name }).to_string());
        let Some(created) = self.send("create", create).await else { return };
        self.acknowledged.push(name);
        let key: KeyObject = parse(&created.expect(201));

        self.is_verified(&key, r#"{"valid":true,"#, 200).await;
        let delete = self.tenant.client().delete(&self.tenant.key_path(key.id));
        let Some(revoked) = self.send("revoke", delete.bearer(self.tenant.token())).await else {
            return;
        };
        revoked.expect(200);
        self.is_verified(&key, r#"{"valid":false,"code":"revoked"}"#, 401).await;
    }

    /// Both ways to have a key verified say the same.
    async fn is_verified(&mut self, key: &KeyObject, verdict: &str, status: u16) {
        let client: Client = self.tenant.client().clone();
        let body = json!({ "key": key.raw() }).to_string();
        let verify = client.post("/api/v1/api-keys/verify").json(body);
        if let Some(answer) = self.send("verify", verify).await {
            assert!(answer.body.starts_with(verdict), "{answer:?}");
        }
        let auth = client.post("/api/v1/auth").header("x-api-key", key.raw());
        if let Some(answer) = self.send("auth", auth).await {
            answer.expect(status);
        }
    }

    /// Sends a request; `None` where it fails.
    async fn send(&mut self, call: &'static str, request: Request) -> Option<Answer> {
        let began = Instant::now();
        let answer = match request.try_send().await {
            Ok(answer) if answer.status < 500 => {
                self.seen.answered += 1;
                return Some(answer);
            }
            Ok(answer) => format!("{answer:?}"),
            Err(error) => format!("{error:?}"),
        };
        self.seen.failures.push(Failure { client: self.client, call, began, answer });
        None
    }

    /// Every acknowledged key is there, and none twice: a create is never sent twice.
    async fn assert_kept(&self) {
        let list = self.tenant.list().await;
        let names: HashSet<&str> = list.iter().map(|key| &*key.name).collect();
        assert_eq!(names.len(), list.len(), "a key was created twice");
        for name in &self.acknowledged {
            assert!(names.contains(&**name), "{name} is lost");
        }
    }
}
