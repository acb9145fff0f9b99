//! The sealer: puts the events of the audit trail into their chains, behind the back of the changes,
//! where the store has not done that with the change.

use std::sync::Arc;
use std::time::Duration;

use keyward_core::audit::{AuditKey, Sealed, Sealer};
use keyward_core::store::{KeyStore, StoreError};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Time between two looks for events that wait. Every node looks; whoever is first seals.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// Looks in a row in which events were refused, after which that is no race of two nodes any more.
const PATIENCE: u32 = 20;
/// Longest time for the last look.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// A sealer at work.
pub struct Sealing {
    store: Arc<dyn KeyStore>,
    key: AuditKey,
    task: JoinHandle<()>,
}

impl Sealing {
    /// Begins to seal what is signed with this key.
    pub fn start(store: &Arc<dyn KeyStore>, key: &AuditKey) -> Self {
        let task = tokio::spawn(seal(Arc::clone(store), key.clone()));
        Self { store: Arc::clone(store), key: key.clone(), task }
    }

    /// Seals what is still there, and ends.
    pub async fn end(self) {
        self.task.abort();
        // One that was broken off has ended too.
        let _ = self.task.await;
        let mut sealer = Sealer::new(self.key);
        // What is not sealed now waits for the next start.
        let _ = timeout(LAST_LOOK, sealer.look(self.store.audit())).await;
    }
}

async fn seal(store: Arc<dyn KeyStore>, key: AuditKey) {
    let mut ticks = interval(BETWEEN_LOOKS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut sealer, mut told) = (Sealer::new(key), Told::default());
    loop {
        ticks.tick().await;
        told.of(&sealer.look(store.audit()).await);
    }
}

/// What the log was told, so that it is told once.
#[derive(Default)]
struct Told {
    forged: u64,
    refused: u32,
    failing: bool,
}

impl Told {
    fn of(&mut self, look: &Result<Sealed, StoreError>) {
        match look {
            Ok(done) => {
                self.failing = false;
                self.refused = if done.refused > 0 { self.refused.saturating_add(1) } else { 0 };
                if self.refused == PATIENCE {
                    tracing::error!(
                        events = done.refused,
                        "audit events cannot be sealed: a chain does not end where it should, or \
                         somebody holds the lock of the sealers; see keyward audit verify"
                    );
                }
                if done.forged > self.forged {
                    tracing::error!(
                        events = done.forged,
                        "the audit trail has events whose signature is wrong: they were put there, or \
                         written with another audit key"
                    );
                }
                self.forged = self.forged.max(done.forged);
            }
            // While the keys are moved elsewhere, the events are too.
            Err(StoreError::Sealed) => {}
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::warn!(cause = %error, "audit events wait to be sealed");
            }
            Err(_) => {}
        }
    }
}
