//! Has it written to the storage when keys are used: now and then, and in the end. Or, where that is not
//! to be kept, that it is not.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use keyward_core::store::{KeyStore, StoreError};
use keyward_core::uses::{mark_unnoted, unnoted_until};
use keyward_core::verify::{Verifier, VerifyError};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::poll::cause;

/// How long a use waits to be written, unless many wait with it.
const BETWEEN_WRITES: Duration = Duration::from_secs(10);
/// So many are written sooner: a tenth of those that may wait at all.
const MANY: usize = 10_000;
/// How often is looked what the minute is, and how many uses wait.
const LOOK: Duration = Duration::from_secs(1);
/// How often a node that keeps no uses says so. After a crash nobody knows better than that.
const BETWEEN_MARKS: Duration = Duration::from_mins(1);
/// Longest time for the last write of a server that is told to stop.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// What is done about the uses of keys, from the start of the server to its end.
pub struct Uses {
    node: Node,
    task: JoinHandle<Infallible>,
}

#[derive(Clone)]
struct Node {
    verifier: Arc<Verifier>,
    store: Arc<dyn KeyStore>,
    noted: bool,
}

impl Uses {
    /// Has uses noted from now on, or it kept in the storage that they are not.
    pub async fn start(verifier: &Arc<Verifier>, store: &Arc<dyn KeyStore>, noted: bool) -> Self {
        let node = Node { verifier: Arc::clone(verifier), store: Arc::clone(store), noted };
        if noted {
            // Before the first verification.
            verifier.keep_minute();
        }
        if let Err(error) = node.begin().await {
            // No reason not to serve: as long as nobody knows, no key is unused.
            tracing::warn!(%error, "it could not be kept since when the use of keys is noted");
        }
        let task = tokio::spawn(node.clone().run());
        Self { node, task }
    }

    /// Writes what is not written yet. No verification may be under way any more.
    pub async fn end(self) {
        self.task.abort();
        let last = async {
            let node = &self.node;
            if node.noted { Ok(node.verifier.write_uses().await?) } else { node.mark().await }
        };
        match timeout(LAST_WRITE, last).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last uses of keys could not be written"),
            Err(_) => tracing::warn!("the last uses of keys could not be written in time"),
        }
    }
}

impl Node {
    /// Where uses were never noted, or are not here, nobody knows of those until now.
    async fn begin(&self) -> Result<(), VerifyError> {
        if self.noted && unnoted_until(&*self.store).await?.is_some() {
            return Ok(());
        }
        self.mark().await
    }

    async fn mark(&self) -> Result<(), VerifyError> {
        let now = self.verifier.time().await?;
        Ok(mark_unnoted(&*self.store, now).await?)
    }

    async fn run(self) -> Infallible {
        if self.noted {
            tokio::select! {
                never = self.keep_minute() => never,
                never = self.keep_writing() => never,
            }
        } else {
            self.keep_marking().await
        }
    }

    async fn keep_minute(&self) -> Infallible {
        loop {
            sleep(LOOK).await;
            self.verifier.keep_minute();
        }
    }

    async fn keep_writing(&self) -> Infallible {
        let mut trouble = Trouble::default();
        loop {
            let begun = Instant::now();
            sleep(LOOK).await;
            while begun.elapsed() < BETWEEN_WRITES && self.verifier.uses().len() < MANY {
                sleep(LOOK).await;
            }
            trouble.look_at(&self.verifier.write_uses().await);
        }
    }

    async fn keep_marking(&self) -> Infallible {
        loop {
            sleep(BETWEEN_MARKS).await;
            if let Err(error) = self.mark().await {
                tracing::debug!(%error, "it could not be kept that the use of keys is not noted");
            }
        }
    }
}

/// Writes that fail, told once when it begins and once when it ends.
#[derive(Default)]
struct Trouble {
    is_there: bool,
}

impl Trouble {
    fn look_at(&mut self, written: &Result<(), StoreError>) {
        match written {
            Ok(()) if self.is_there => tracing::info!("the uses of keys can be written again"),
            Ok(()) => {}
            Err(error) if self.is_there => {
                tracing::debug!(cause = cause(error), "the uses of keys still cannot be written");
            }
            Err(error) => tracing::warn!(
                cause = cause(error),
                "the uses of keys cannot be written, and are kept in memory until they can"
            ),
        }
        self.is_there = written.is_err();
    }
}
