//! The sealer: puts the events of the audit trail into their chains, behind the back of the changes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use keyward_core::audit::{self, AuditKey};
use keyward_core::store::{KeyStore, StoreError};

/// Time between two looks for events that wait. Every node looks; whoever is first seals.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Seals, for ever.
pub async fn run(store: Arc<dyn KeyStore>, key: AuditKey) -> Infallible {
    let mut ticks = tokio::time::interval(BETWEEN_LOOKS);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut known_forged, mut failing) = (0, false);
    loop {
        ticks.tick().await;
        match audit::seal(store.audit(), &key).await {
            Ok(done) => {
                failing = false;
                if done.forged > known_forged {
                    tracing::error!(
                        events = done.forged,
                        "the audit trail has events whose signature is wrong: they were put there, or \
                         written by a node with another audit key"
                    );
                }
                known_forged = done.forged;
            }
            // While the keys are moved elsewhere, the events are too.
            Err(StoreError::Sealed) => {}
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(cause = %error, "audit events wait to be sealed");
            }
            Err(_) => {}
        }
    }
}
