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
/// Least time between two fetches that unknown keys ask for. Anybody can name an unknown key; the
/// identity provider is not to pay for it.
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

    /// The present set, fetched anew if it does not know `kid`, for that reason once a minute at most.
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
    /// When an unknown key last caused one.
    demanded: Option<Instant>,
    failing: bool,
    warned: Option<Instant>,
}

impl State {
    fn new() -> Self {
        Self { attempted: Instant::now(), demanded: None, failing: false, warned: None }
    }

    /// Whether an unknown key may cause a fetch; if so, the next may only later.
    fn may_demand(&mut self) -> bool {
        due(&mut self.demanded, DEMAND_AFTER)
    }

    /// Whether a warning is due; if so, the next is due only later.
    fn may_warn(&mut self) -> bool {
        due(&mut self.warned, WARN_AFTER)
    }
}

/// Whether `last` is `every` ago or has never been; if so, it is now.
fn due(last: &mut Option<Instant>, every: Duration) -> bool {
    let due = last.is_none_or(|last| last.elapsed() >= every);
    if due {
        *last = Some(Instant::now());
    }
    due
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
                    if self.state.may_demand() {
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
                self.published.send_replace(Some(Arc::new(keys)));
            }
            Err(error) => {
                self.state.failing = true;
                self.warn(&error);
            }
        }
    }

    fn warn(&mut self, error: &anyhow::Error) {
        if !self.state.may_warn() {
            return;
        }
        let error = format!("{error:#}");
        if self.published.borrow().is_some() {
            tracing::warn!(error, "the JWKS cannot be fetched; the last one stays in use");
        } else {
            tracing::warn!(error, "the JWKS cannot be fetched; until it can, its tokens get 503");
        }
    }
}

/// The clock of these tests runs ahead whenever everybody waits for it.
#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use serde_json::json;
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_mins(1);

    /// A provider of keys that does what a test tells it.
    #[derive(Default)]
    struct Provider {
        fetches: AtomicUsize,
        /// How long an answer takes.
        delay: Mutex<Duration>,
        /// The names of the keys in it, or `None` while there is none.
        kids: Mutex<Option<Vec<&'static str>>>,
    }

    impl Provider {
        fn with(kids: &[&'static str]) -> Arc<Self> {
            let provider = Arc::new(Self::default());
            provider.publish(kids);
            provider
        }

        fn publish(&self, kids: &[&'static str]) {
            *self.kids.lock().unwrap() = Some(kids.to_vec());
        }

        fn fail(&self) {
            *self.kids.lock().unwrap() = None;
        }

        fn delay(&self, delay: Duration) {
            *self.delay.lock().unwrap() = delay;
        }

        fn fetches(&self) -> usize {
            self.fetches.load(Ordering::SeqCst)
        }

        async fn fetch(&self) -> anyhow::Result<KeySet> {
            self.fetches.fetch_add(1, Ordering::SeqCst);
            let delay = *self.delay.lock().unwrap();
            sleep(delay).await;
            let kids = self.kids.lock().unwrap().clone().context("the provider is down")?;
            let x = "A".repeat(43);
            let key = |kid| json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x });
            let keys: Vec<_> = kids.into_iter().map(key).collect();
            KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
        }
    }

    async fn start(provider: &Arc<Provider>) -> Arc<Refreshed> {
        let provider = Arc::clone(provider);
        let fetch = move || {
            let provider = Arc::clone(&provider);
            async move { provider.fetch().await }
        };
        Arc::new(Refreshed::start(fetch).await)
    }

    /// Whether a request that names `kid` finds it.
    async fn finds(keys: &Refreshed, kid: &str) -> bool {
        keys.knowing(Some(kid)).await.is_some_and(|keys| keys.knows(kid))
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_fetched_anew_every_five_minutes() {
        let provider = Provider::with(&["old"]);
        let keys = start(&provider).await;
        provider.publish(&["new"]);
        sleep(299 * SECOND).await;
        assert_eq!(provider.fetches(), 1);
        assert!(finds(&keys, "old").await);
        sleep(2 * SECOND).await;
        assert_eq!(provider.fetches(), 2);
        assert!(finds(&keys, "new").await);
        let present = keys.knowing(None).await.unwrap();
        assert!(!present.knows("old"), "a withdrawn key is gone");
        sleep(60 * MINUTE).await;
        assert_eq!(provider.fetches(), 14);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_key_is_fetched_but_once_a_minute() {
        let provider = Provider::with(&["old"]);
        let keys = start(&provider).await;
        provider.publish(&["old", "new"]);
        assert!(finds(&keys, "new").await);
        assert_eq!(provider.fetches(), 2);
        for _ in 0..4 * 60 {
            assert!(!finds(&keys, "forged").await);
            sleep(SECOND).await;
        }
        assert_eq!(provider.fetches(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn known_keys_and_unnamed_ones_cause_no_fetch() {
        let provider = Provider::with(&["old"]);
        let keys = start(&provider).await;
        sleep(2 * MINUTE).await;
        assert!(finds(&keys, "old").await);
        assert!(keys.knowing(None).await.is_some());
        assert_eq!(provider.fetches(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_name_the_same_new_key_share_one_fetch() {
        let provider = Provider::with(&["old"]);
        let keys = start(&provider).await;
        sleep(MINUTE).await;
        provider.publish(&["new"]);
        provider.delay(2 * SECOND);
        let found = join_all((0..100).map(|_| finds(&keys, "new"))).await;
        assert!(found.into_iter().all(|found| found));
        assert_eq!(provider.fetches(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_known_key_does_not_wait_and_an_unknown_one_not_for_ever() {
        let provider = Provider::with(&["old"]);
        let keys = start(&provider).await;
        sleep(MINUTE).await;
        provider.delay(60 * MINUTE);
        let asked = Instant::now();
        let unknown = tokio::spawn({
            let keys = Arc::clone(&keys);
            async move { finds(&keys, "new").await }
        });
        sleep(SECOND).await;
        assert_eq!(provider.fetches(), 2, "the fetch is under way");
        assert!(finds(&keys, "old").await);
        assert_eq!(asked.elapsed(), SECOND, "the known key was there at once");
        assert!(!unknown.await.unwrap());
        assert_eq!(asked.elapsed(), FETCH_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_outlives_the_request_that_asked_for_it() {
        let provider = Provider::with(&["old"]);
        let keys = start(&provider).await;
        sleep(MINUTE).await;
        provider.publish(&["new"]);
        provider.delay(2 * SECOND);
        assert!(timeout(SECOND, finds(&keys, "new")).await.is_err(), "the client gives up");
        sleep(2 * SECOND).await;
        assert!(finds(&keys, "new").await);
        assert_eq!(provider.fetches(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_comes_late_is_found_within_seconds() {
        let provider = Arc::new(Provider::default());
        let keys = start(&provider).await;
        assert!(keys.knowing(None).await.is_none());
        assert!(keys.knowing(Some("new")).await.is_none());
        assert_eq!(provider.fetches(), 1, "requests do not hurry it");
        sleep(MINUTE).await;
        assert!(keys.knowing(None).await.is_none());
        provider.publish(&["new"]);
        sleep(RETRY_FIRST_AFTER).await;
        assert!(finds(&keys, "new").await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_hangs_delays_the_start_by_seconds_only() {
        let provider = Provider::with(&["new"]);
        provider.delay(60 * MINUTE);
        let started = Instant::now();
        let keys = start(&provider).await;
        assert_eq!(started.elapsed(), FETCH_TIMEOUT);
        assert!(keys.knowing(None).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_goes_away_leaves_its_last_keys_in_use() {
        let provider = Provider::with(&["old"]);
        let keys = start(&provider).await;
        provider.fail();
        sleep(600 * MINUTE).await;
        assert!(finds(&keys, "old").await);
        assert!(!finds(&keys, "new").await);
        let fetches = provider.fetches();
        assert!((595..=601).contains(&fetches), "once a minute: {fetches}");
        provider.publish(&["new"]);
        sleep(MINUTE).await;
        assert!(finds(&keys, "new").await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_withdraws_all_its_keys_is_taken_to_be_mistaken() {
        let provider = Provider::with(&["old"]);
        let keys = start(&provider).await;
        provider.publish(&[]);
        sleep(10 * MINUTE).await;
        assert!(finds(&keys, "old").await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_warned_of_at_most_once_a_minute() {
        let mut state = State::new();
        let mut warnings = 0;
        for _ in 0..10 * 60 {
            warnings += usize::from(state.may_warn());
            sleep(SECOND).await;
        }
        assert_eq!(warnings, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn the_task_ends_with_the_set() {
        let provider = Provider::with(&["old"]);
        let keys = start(&provider).await;
        assert_eq!(Arc::strong_count(&provider), 2);
        drop(keys);
        sleep(SECOND).await;
        assert_eq!(Arc::strong_count(&provider), 1);
    }
}
