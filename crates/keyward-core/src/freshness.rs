//! How a node knows that what it remembers of a shared store is up to date.
//!
//! The [`Follower`] polls the store for changes, evicts what they name, and then publishes a
//! [`Proof`]: when the newest poll was sent whose answer is applied. A verification is answered from
//! memory if that was no earlier than one *window* before the verification arrived; otherwise it
//! waits for a poll that is sent from then on. One poll is under way at a time and serves everybody
//! who waits. With a window of zero every verification waits; nothing else is different.
//!
//! Whoever narrows a key commits, and then waits out the [`barrier`]: as long as a node could still
//! rely on a poll from before the commit.
//!
//! Nothing here depends on a notification that arrives, on clocks of two machines that agree, or on
//! which other nodes there are. Polls follow demand: while verifications arrive there is one in each
//! half of a window, so that nobody waits; an idle node polls every few seconds, and the first
//! verification afterwards waits for one poll.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::task::Poll as Progress;
use std::time::Duration;

use crate::cache::RecordCache;
use crate::clock::{Reading, Timer, Timestamp};
use crate::proof::Proof;
use crate::store::{KeyStore, Mark, News, Poll, StoreError, Windows};
use crate::sync::Event;

/// Time between two polls of a node that verifies nothing.
const IDLE: Duration = Duration::from_secs(10);
/// Time from a poll that failed to the next one, where somebody waits.
const RETRY: Duration = Duration::from_millis(50);
/// What is added to each barrier for timers that end early.
const MARGIN: Duration = Duration::from_millis(20);

/// How long a change that narrows a key waits, on the clock of its own machine, from when its commit
/// was acknowledged: `W (1 + ρ) / (1 − ρ)` and a margin, where ρ = 1 % is by how much the rate of a
/// machine's clock may be wrong (V5). Nothing where there is no window.
pub fn barrier(window: Duration) -> Duration {
    if window.is_zero() { Duration::ZERO } else { window * 101 / 99 + MARGIN }
}

/// Waits until no node can still rely on a poll from before this call (V5), which comes after a
/// commit that narrowed a key. It holds no connection, no thread and no lock meanwhile: any number
/// wait side by side. On an exclusive store there is nothing to wait for.
pub async fn outlast_windows(store: &dyn KeyStore, timer: &dyn Timer) -> Result<(), StoreError> {
    let Some(feed) = store.feed() else { return Ok(()) };
    let committed = timer.read().boot;
    // Asked after the commit: a node that was told of a longer window since has been told of the
    // commit too, and a barrier is made shorter only when no node relies on the longer window.
    let barrier = barrier(feed.windows().await?.barrier);
    let passed = Duration::from_nanos(timer.read().boot.saturating_sub(committed));
    let left = barrier.saturating_sub(passed);
    if !left.is_zero() {
        timer.sleep(left).await;
    }
    Ok(())
}

/// There was no proof in time: the store could not be polled. A key is then neither good nor bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody knows whether what is remembered is up to date")]
pub struct NotFresh;

/// What was counted so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Polls whose answer was applied.
    pub applied: u64,
    /// Polls that failed.
    pub failed: u64,
    /// How often everything was forgotten, because anything may have changed. The first poll of a
    /// node, which has nothing to forget, is not among them.
    pub resets: u64,
    /// Verifications that had to wait for a poll.
    pub waits: u64,
}

/// The proof, and those who wait for a newer one.
pub struct Freshness {
    timer: Arc<dyn Timer>,
    patience: Duration,
    proof: Proof,
    /// The barrier's window that the newest poll told of, in nanoseconds.
    barrier: AtomicU64,
    /// By how many microseconds the clock of the store is ahead of the one that counts from the start
    /// of the machine, as the newest poll has it (V14); `i64::MIN` before the first.
    store_ahead: AtomicI64,
    /// Whether a verification relied on the proof since the newest poll was sent.
    used: AtomicBool,
    /// The latest arrival of those who found no proof.
    wanted_since: AtomicU64,
    /// The follower may have to poll sooner than it thought.
    wanted: Event,
    /// A poll was applied.
    published: Event,
    applied: AtomicU64,
    failed: AtomicU64,
    resets: AtomicU64,
    waits: AtomicU64,
}

impl Freshness {
    /// Without a proof yet. Nobody waits for one longer than `patience` (V9).
    pub fn new(timer: Arc<dyn Timer>, patience: Duration) -> Self {
        Self {
            timer,
            patience,
            proof: Proof::default(),
            barrier: AtomicU64::new(0),
            store_ahead: AtomicI64::new(i64::MIN),
            used: AtomicBool::new(false),
            wanted_since: AtomicU64::new(0),
            wanted: Event::new(),
            published: Event::new(),
            applied: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            waits: AtomicU64::new(0),
        }
    }

    /// The moment at which a verification arrives.
    pub fn arrive(&self) -> Reading {
        self.timer.read()
    }

    /// Whether a verification that arrived then may be answered from what it reads from now on.
    pub fn holds(&self, arrival: Reading) -> bool {
        let holds = self.proof.holds(arrival);
        // Written once for each poll, so that cores do not fight for it.
        if holds && !self.used.load(Ordering::Relaxed) && !self.used.swap(true, Ordering::Relaxed) {
            self.wanted.notify(1);
        }
        holds
    }

    /// Waits until [`Freshness::holds`] for a verification that arrived then.
    ///
    /// # Errors
    ///
    /// When there is no proof in time.
    pub async fn prove(&self, arrival: Reading) -> Result<(), NotFresh> {
        if self.holds(arrival) {
            return Ok(());
        }
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.wanted_since.fetch_max(arrival.boot, Ordering::AcqRel);
        self.wanted.notify(1);
        let proven = async {
            loop {
                // Listening comes first: what is published from here on is not missed.
                let published = self.published.listen();
                if self.holds(arrival) {
                    return;
                }
                published.await;
            }
        };
        first_of(proven, self.timer.sleep(self.patience)).await.ok_or(NotFresh)
    }

    /// How long ago the newest poll was sent whose answer is applied; `None` before the first.
    pub fn age(&self) -> Option<Duration> {
        let sent = self.proof.sent();
        let age = || Duration::from_nanos(self.timer.read().boot.saturating_sub(sent));
        (sent > 0).then(age)
    }

    /// What the clock of the store shows at the moment `arrival`, or a little later: the time that a
    /// poll travelled is taken for time that had passed before it. `None` before the first poll.
    pub fn store_time(&self, arrival: Reading) -> Option<Timestamp> {
        let ahead = self.store_ahead.load(Ordering::Acquire);
        let time = (ahead != i64::MIN).then(|| micros(arrival).saturating_add(ahead))?;
        Some(Timestamp::from_micros(time).unwrap_or(Timestamp::MAX))
    }

    /// How long a change that narrows a key waits, as the newest poll has it.
    pub fn barrier(&self) -> Duration {
        barrier(Duration::from_nanos(self.barrier.load(Ordering::Relaxed)))
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            applied: read(&self.applied),
            failed: read(&self.failed),
            resets: read(&self.resets),
            waits: read(&self.waits),
        }
    }

    /// Whether somebody waits whom the newest poll has not served.
    fn is_wanted(&self) -> bool {
        let since = self.wanted_since.load(Ordering::Acquire);
        let sent = self.proof.sent();
        since > sent && !self.proof.holds(Reading { boot: since, ..self.timer.read() })
    }
}

/// Keeps a cell up to date: asks when the next poll is due, and applies what it brings. It does no
/// polling of its own and knows no store; whoever runs it does that in between.
pub struct Follower {
    freshness: Arc<Freshness>,
    cell: Arc<RecordCache>,
    /// The newest change that is applied.
    mark: Option<Mark>,
    /// When the newest poll was sent, and how it ended.
    sent: u64,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// None was sent yet.
    None,
    Failed,
    Applied {
        window: Duration,
    },
}

/// A poll that is to be made now: of what changed after `after`.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// What to ask the store for.
    pub after: Option<Mark>,
    /// Before the store is asked.
    sent: Reading,
}

/// What became of what was remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// What changed was evicted.
    Evicted,
    /// Everything was evicted, because anything may have changed.
    Reset,
}

impl Follower {
    /// Keeps `cell` up to date and tells it by `freshness`. A cell has one follower.
    pub fn new(freshness: Arc<Freshness>, cell: Arc<RecordCache>) -> Self {
        Self { freshness, cell, mark: None, sent: 0, outcome: Outcome::None }
    }

    /// Waits until the next poll is due: at once when somebody waits for it, else when the proof is
    /// half used up, or the node has been idle for long.
    pub async fn due(&mut self) -> Due {
        let timer = Arc::clone(&self.freshness.timer);
        loop {
            let woken = self.freshness.wanted.listen();
            let left = self.next().saturating_sub(timer.read().boot);
            if left == 0 {
                break;
            }
            first_of(woken, timer.sleep(Duration::from_nanos(left))).await;
        }
        self.freshness.used.store(false, Ordering::Relaxed);
        let sent = Reading::steady(&*timer);
        self.sent = sent.boot;
        Due { after: self.mark, sent }
    }

    /// When the next poll is due, if nothing else happens.
    fn next(&self) -> u64 {
        let wanted = self.freshness.is_wanted();
        let used = self.freshness.used.load(Ordering::Relaxed);
        let pause = match self.outcome {
            Outcome::None => return 0,
            Outcome::Failed if wanted || used => RETRY,
            Outcome::Applied { .. } if wanted => return 0,
            Outcome::Applied { window } if used && !window.is_zero() => window / 2,
            Outcome::Failed | Outcome::Applied { .. } => IDLE,
        };
        self.sent.saturating_add(pause.as_nanos().try_into().unwrap_or(u64::MAX))
    }

    /// Applies what a poll brought: forgets what has changed, then publishes the proof (V2).
    pub fn apply(&mut self, due: Due, poll: &Poll) -> Applied {
        self.mark = poll.newest;
        let applied = match &poll.news {
            News::Changed(digests) => {
                for digest in digests {
                    self.cell.evict(digest);
                }
                Applied::Evicted
            }
            News::Anything => {
                self.cell.evict_all();
                Applied::Reset
            }
        };
        // Before the first poll, what was remembered could not be answered from.
        if applied == Applied::Reset && due.after.is_some() {
            self.freshness.resets.fetch_add(1, Ordering::Relaxed);
        }
        let Windows { node, barrier } = poll.windows;
        self.outcome = Outcome::Applied { window: node };
        self.freshness.applied.fetch_add(1, Ordering::Relaxed);
        let barrier = barrier.as_nanos().try_into().unwrap_or(u64::MAX);
        self.freshness.barrier.store(barrier, Ordering::Relaxed);
        let ahead = poll.time.as_micros().saturating_sub(micros(due.sent));
        self.freshness.store_ahead.store(ahead, Ordering::Release);
        self.freshness.proof.publish(due.sent, node);
        self.freshness.published.notify(usize::MAX);
        applied
    }

    /// Notes that a poll failed. Nothing is forgotten: the proof that there is grows old by itself.
    pub fn fail(&mut self) {
        self.outcome = Outcome::Failed;
        self.freshness.failed.fetch_add(1, Ordering::Relaxed);
    }
}

/// The clock that counts from the start of the machine, in microseconds.
fn micros(reading: Reading) -> i64 {
    i64::try_from(reading.boot / 1_000).unwrap_or(i64::MAX)
}

/// What `work` brings, unless `end` comes first.
async fn first_of<T>(work: impl Future<Output = T>, end: impl Future) -> Option<T> {
    let (mut work, mut end) = (pin!(work), pin!(end));
    std::future::poll_fn(|cx| {
        if let Progress::Ready(done) = work.as_mut().poll(cx) {
            return Progress::Ready(Some(done));
        }
        end.as_mut().poll(cx).map(|_| None)
    })
    .await
}

// Named, because rustfmt looks for it from the package that compiles this file a second time as well.
#[cfg(test)]
#[path = "freshness/tests.rs"]
mod tests;
