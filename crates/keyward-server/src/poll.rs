//! The freshness loop: polls a shared store, so that what is remembered of it can be answered from.

use std::convert::Infallible;
use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyward_core::freshness::{Applied, Follower};
use keyward_core::store::{ChangeFeed, KeyStore, StoreError};

/// How often history that nobody needs is forgotten. Every node does it; one would do.
const BETWEEN_PRUNINGS: Duration = Duration::from_mins(10);

/// Follows the changes of `store`, for ever. Does nothing where nobody else changes anything.
pub async fn follow(store: Arc<dyn KeyStore>, follower: Option<Follower>) {
    if let (Some(feed), Some(follower)) = (store.feed(), follower) {
        tokio::select! {
            never = poll(feed, follower) => match never {},
            never = prune(feed) => match never {},
        }
    }
}

async fn poll(feed: &dyn ChangeFeed, mut follower: Follower) -> Infallible {
    let mut trouble = Trouble::default();
    loop {
        let due = follower.due().await;
        match feed.poll(due.after).await {
            Ok(poll) => {
                let known = due.after.is_some();
                let applied = follower.apply(due, &poll);
                trouble.is_over();
                if applied == Applied::Reset && known {
                    tracing::warn!(
                        "the history of the database is not the one that was known, or too much \
                         has changed at once: everything that was remembered is forgotten"
                    );
                }
            }
            Err(error) => {
                follower.fail();
                trouble.goes_on(&error);
            }
        }
    }
}

async fn prune(feed: &dyn ChangeFeed) -> Infallible {
    loop {
        tokio::time::sleep(BETWEEN_PRUNINGS).await;
        if let Err(error) = feed.prune().await {
            tracing::debug!(cause = cause(&error), "old history was not forgotten");
        }
    }
}

/// Polls that fail, told once when it begins and once when it ends.
#[derive(Default)]
struct Trouble {
    since: Option<Instant>,
}

impl Trouble {
    fn goes_on(&mut self, error: &StoreError) {
        if self.since.is_none() {
            self.since = Some(Instant::now());
            tracing::error!(
                cause = cause(error),
                "the database cannot be polled: keys that are remembered are answered with 503 \
                 until it can"
            );
        }
    }

    fn is_over(&mut self) {
        if let Some(since) = self.since.take() {
            let seconds = since.elapsed().as_secs_f64();
            tracing::info!(seconds, "the database can be polled again");
        }
    }
}

/// What stands behind the error, which itself says only that the store is unavailable.
pub fn cause(error: &StoreError) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}
