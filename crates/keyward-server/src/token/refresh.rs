//! Keeps fetched keys fresh.
//!
//! One task does all the fetching, so there is never more than one fetch at a time, and none is
//! cut off because the request that caused it went away. Requests read the last set that it
//! published and never wait, except those that name a key that is not in it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::jwks::KeySet;

/// How long a set is used before it is fetched again; a withdrawn key lives no longer than this.
const REFRESH_AFTER: Duration = Duration::from_mins(5);
/// How soon a failed fetch is repeated while there is a set to go on with.
const RETRY_AFTER: Duration = Duration::from_mins(1);
/// How soon a failed fetch is repeated while there is none, and no token can be accepted.
const RETRY_FIRST_AFTER: Duration = Duration::from_secs(5);
/// Least time between the last fetch and one that an unknown key asks for. Anybody can name an
/// unknown key; the identity provider is not to pay for it.
const DEMAND_AFTER: Duration = Duration::from_mins(1);
/// How long a fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Least time between two warnings.
const WARN_AFTER: Duration = Duration::from_mins(1);

/// A set of keys that a task fetches again and again, until this is dropped.
pub struct Refreshed {
    keys: watch::Receiver<Option<Arc<KeySet>>>,
    demands: mpsc::Sender<oneshot::Sender<()>>,
}

impl Refreshed {
    /// Fetches once, and starts the task that goes on with it whether or not that succeeded.
    pub async fn start<F, R>(fetch: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = anyhow::Result<KeySet>> + Send + 'static,
    {
        let (published, keys) = watch::channel(None);
        let (demands, demanded) = mpsc::channel(1);
        let mut refresher = Refresher { fetch, published, state: State::new() };
        refresher.attempt().await;
        tokio::spawn(refresher.run(demanded));
        Self { keys, demands }
    }

    /// The present set, fetched anew if it does not know `kid` and the last fetch is a minute ago.
    /// `None` while none has ever been fetched.
    pub async fn knowing(&self, kid: Option<&str>) -> Option<Arc<KeySet>> {
        let keys = self.keys.borrow().clone()?;
        if kid.is_none_or(|kid| keys.knows(kid)) {
            return Some(keys);
        }
        let (done, wait) = oneshot::channel();
        if self.demands.send(done).await.is_ok() {
            // Answered or dropped, it is over: what counts is the set that is there then.
            let _ = wait.await;
        }
        self.keys.borrow().clone()
    }
}

struct Refresher<F> {
    fetch: F,
    published: watch::Sender<Option<Arc<KeySet>>>,
    state: State,
}

/// What the last attempts came to.
struct State {
    attempted: Instant,
    failing: bool,
    warned: Option<Instant>,
}

impl State {
    fn new() -> Self {
        Self { attempted: Instant::now(), failing: false, warned: None }
    }
}

impl<F, R> Refresher<F>
where
    F: Fn() -> R + Send + Sync,
    R: Future<Output = anyhow::Result<KeySet>> + Send,
{
    async fn run(mut self, mut demanded: mpsc::Receiver<oneshot::Sender<()>>) {
        loop {
            tokio::select! {
                demand = demanded.recv() => {
                    let Some(done) = demand else { return };
                    if self.state.attempted.elapsed() >= DEMAND_AFTER {
                        self.attempt().await;
                    }
                    drop(done);
                }
                () = sleep_until(self.due()) => self.attempt().await,
            }
        }
    }

    fn due(&self) -> Instant {
        let wait = match (self.state.failing, self.published.borrow().is_some()) {
            (false, _) => REFRESH_AFTER,
            (true, true) => RETRY_AFTER,
            (true, false) => RETRY_FIRST_AFTER,
        };
        self.state.attempted + wait
    }

    async fn attempt(&mut self) {
        let fetched = timeout(FETCH_TIMEOUT, (self.fetch)()).await;
        self.state.attempted = Instant::now();
        match fetched.context("it took too long").flatten() {
            Ok(keys) => {
                if self.state.failing {
                    tracing::info!(keys = keys.len(), "the JWKS was fetched again");
                }
                self.state.failing = false;
                self.state.warned = None;
                self.published.send_replace(Some(Arc::new(keys)));
            }
            Err(error) => {
                self.state.failing = true;
                self.warn(&error);
            }
        }
    }

    fn warn(&mut self, error: &anyhow::Error) {
        if self.state.warned.is_some_and(|warned| warned.elapsed() < WARN_AFTER) {
            return;
        }
        self.state.warned = Some(Instant::now());
        let error = format!("{error:#}");
        if self.published.borrow().is_some() {
            tracing::warn!(error, "the JWKS cannot be fetched; the last one stays in use");
        } else {
            tracing::warn!(error, "the JWKS cannot be fetched; until it can, its tokens get 503");
        }
    }
}
