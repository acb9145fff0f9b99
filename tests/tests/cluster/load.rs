//! Clients of all nodes: keys come and go, each created, used and revoked through any node, and
//! verifiers show them to all nodes the whole time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use keyward_tests::client::Answer;
use keyward_tests::history::{Key, Outcome, Recorder, Verdict, Verification};
use keyward_tests::tenant::{KeyObject, Tenant, parse};
use keyward_tests::tokens;
use keyward_tests::wait::eventually;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::fleet::Fleet;
use crate::report::Report;

/// Connections on which each node is asked take no more rest than this.
const BREATH: Duration = Duration::from_millis(1);
/// Clients do not wait longer for a change. They hang up, and ask another node.
const HANG_UP: Duration = Duration::from_secs(3);
/// Longest use of a key between its creation and its revocation.
const LONGEST_USE: usize = 100;
/// Verifiers go on showing a revoked key as long as a node might answer from memory, and longer.
const LINGER: Duration = Duration::from_millis(400);

/// The clients, until [`Load::end`].
pub struct Load {
    clients: Arc<Clients>,
    tasks: JoinSet<()>,
}

impl Load {
    /// Sets the clients to work on all nodes.
    pub fn begin(fleet: &Fleet) -> Self {
        Self::with(fleet, 32, 4)
    }

    /// Clients that have so many keys at a time, and so many connections to each node on which they
    /// show them.
    pub fn with(fleet: &Fleet, lives: usize, verifiers: usize) -> Self {
        let clients = Arc::new(Clients {
            tenants: fleet.tenants.clone(),
            recorder: Recorder::new(),
            shown: RwLock::default(),
            ending: AtomicBool::new(false),
            stragglers: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for node in 0..fleet.tenants.len() {
            for _ in 0..verifiers {
                tasks.spawn(Arc::clone(&clients).verify_all(node));
            }
        }
        for _ in 0..lives {
            tasks.spawn(Arc::clone(&clients).live());
        }
        Self { clients, tasks }
    }

    /// Waits until so many more keys have been revoked.
    pub async fn revoke(&self, more: usize) {
        const STEP: usize = 50;
        let revocations = || self.clients.recorder.history().revocations();
        let wanted = revocations() + more;
        // A long history takes longer than anything is waited for, but no part of it does.
        while revocations() < wanted {
            let next = wanted.min(revocations() + STEP);
            eventually("keys are revoked", async || revocations() >= next).await;
        }
    }

    /// The history, to note in it what happens beside the load.
    pub fn recorder(&self) -> &Recorder {
        &self.clients.recorder
    }

    /// A key that the verifiers show until the load ends, and that only the test revokes. All nodes
    /// have been asked about it.
    pub async fn key(&self) -> Shown {
        let shown = eventually_some(async || self.clients.create(0).await).await;
        self.clients.show(&shown);
        self.clients.ask_everywhere(&shown, HANG_UP).await;
        shown
    }

    /// Notes that from now on something else than the load may revoke the key.
    pub fn threaten(&self, shown: &Shown) {
        let recorder = self.recorder();
        let now = recorder.now();
        recorder.history().threatened(shown.key, now);
    }

    /// Asks a node to revoke a key, once.
    pub async fn delete(&self, node: usize, shown: &Shown) -> Outcome {
        self.clients.delete(node, shown).await
    }

    /// Asks all nodes about a key, now. Answers may come later.
    pub async fn ask_everywhere(&self, shown: &Shown) {
        self.clients.ask_everywhere(shown, BREATH).await;
    }

    /// Has the clients finish, and judges what they saw.
    pub async fn end(self) -> Report {
        self.clients.ending.store(true, Ordering::SeqCst);
        self.tasks.join_all().await;
        let stragglers = std::mem::take(&mut *self.clients.stragglers());
        stragglers.join_all().await;
        Report::of(&self.clients.recorder.history())
    }
}

/// A key that verifiers show.
#[derive(Debug, Clone)]
pub struct Shown {
    pub key: Key,
    pub id: Uuid,
    raw: Arc<str>,
}

struct Clients {
    tenants: Vec<Tenant>,
    recorder: Recorder,
    shown: RwLock<Vec<Shown>>,
    ending: AtomicBool,
    /// Verifications that nobody waits for before the end.
    stragglers: Mutex<JoinSet<()>>,
}

impl Clients {
    async fn verify_all(self: Arc<Self>, node: usize) {
        while !self.is_ending() {
            match self.any_shown() {
                Some(shown) => {
                    let verdict = self.verify(node, &shown).await;
                    sleep(if verdict == Verdict::Lost { 20 * BREATH } else { BREATH }).await;
                }
                None => sleep(BREATH).await,
            }
        }
    }

    /// One key after the other.
    async fn live(self: Arc<Self>) {
        while !self.is_ending() {
            let Some(shown) = self.create(self.any_node()).await else {
                sleep(20 * BREATH).await;
                continue;
            };
            self.show(&shown);
            // All nodes that can are to remember it.
            self.ask_everywhere(&shown, HANG_UP / 10).await;
            sleep(BREATH * u32::try_from(below(LONGEST_USE)).expect("it is small")).await;
            while self.delete(self.any_node(), &shown).await != Outcome::Answered {
                sleep(20 * BREATH).await;
            }
            self.ask_everywhere(&shown, BREATH).await;
            sleep(LINGER).await;
            self.hide(&shown);
        }
    }

    /// Creates a key, if the node answers.
    async fn create(&self, node: usize) -> Option<Shown> {
        let begun = self.recorder.now();
        let request = self.tenants[node].request("POST").json(r#"{"name":"a"}"#).try_send();
        let answer = timeout(HANG_UP, request).await.ok()?.ok()?;
        if answer.status == 503 {
            return None;
        }
        let key: KeyObject = parse(&answer.expect(201));
        let span = self.recorder.since(begun);
        let number = self.recorder.history().created(span);
        Some(Shown { key: number, id: key.id, raw: key.raw().into() })
    }

    async fn delete(&self, node: usize, shown: &Shown) -> Outcome {
        let tenant = &self.tenants[node];
        let begun = self.recorder.now();
        let request = tenant.client().delete(&tenant.key_path(shown.id)).bearer(tenant.token());
        let outcome = match timeout(HANG_UP, request.try_send()).await {
            Ok(Ok(Answer { status: 200, .. })) => Outcome::Answered,
            Ok(Ok(answer)) => {
                answer.expect_problem(503);
                Outcome::Unavailable
            }
            Ok(Err(_)) | Err(_) => Outcome::Lost,
        };
        let span = self.recorder.since(begun);
        self.recorder.history().deleted(shown.key, span, outcome);
        outcome
    }

    /// Shows a key to all nodes at once and waits for their answers, but no longer than this.
    async fn ask_everywhere(self: &Arc<Self>, shown: &Shown, patience: Duration) {
        let mut asked = Vec::new();
        for node in 0..self.tenants.len() {
            let (clients, shown) = (Arc::clone(self), shown.clone());
            let (tell, answered) = tokio::sync::oneshot::channel::<()>();
            asked.push(answered);
            let mut stragglers = self.stragglers();
            while stragglers.try_join_next().is_some() {}
            stragglers.spawn(async move {
                clients.verify(node, &shown).await;
                drop(tell);
            });
        }
        let all = async {
            for answered in asked {
                // It is closed when the answer is there.
                let _ = answered.await;
            }
        };
        let _ = timeout(patience, all).await;
    }

    /// Shows a key to a node, at one endpoint or the other.
    async fn verify(&self, node: usize, shown: &Shown) -> Verdict {
        let client = self.tenants[node].client();
        let body = json!({ "key": &*shown.raw }).to_string();
        let request = match below(2) {
            0 => client.get("/api/v1/auth").bearer(&shown.raw),
            _ => client.post("/api/v1/api-keys/verify").json(body),
        };
        let begun = self.recorder.now();
        let answer = request.try_send().await;
        let span = self.recorder.since(begun);
        let verdict = answer.map_or(Verdict::Lost, |answer| read(&answer));
        let verification = Verification { key: shown.key, node, span, verdict };
        self.recorder.history().verified(verification);
        verdict
    }

    fn any_node(&self) -> usize {
        below(self.tenants.len())
    }

    fn any_shown(&self) -> Option<Shown> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        (!shown.is_empty()).then(|| shown[below(shown.len())].clone())
    }

    fn show(&self, shown: &Shown) {
        self.shown.write().unwrap_or_else(PoisonError::into_inner).push(shown.clone());
    }

    fn hide(&self, hidden: &Shown) {
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|it| it.key != hidden.key);
    }

    fn stragglers(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.stragglers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }
}

/// What an answer of either endpoint says of the key.
fn read(answer: &Answer) -> Verdict {
    match answer.status {
        200 if answer.body.is_empty() => Verdict::Accepted,
        200 if answer.json()["valid"] == true => Verdict::Accepted,
        200 | 401 => Verdict::Refused,
        503 if answer.header("retry-after").parse::<u32>().is_ok() => Verdict::Unavailable,
        other => Verdict::Other(other),
    }
}

async fn eventually_some<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let mut made = None;
    eventually("it is made", async || {
        made = attempt().await;
        made.is_some()
    })
    .await;
    made.expect("it was just made")
}

/// A random number less than `bound`.
pub fn below(bound: usize) -> usize {
    usize::from(u16::from_le_bytes(tokens::random())) % bound
}
