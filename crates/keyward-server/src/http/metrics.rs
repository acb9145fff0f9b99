//! What is counted, for Prometheus. No label holds anything that a client sent.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use keyward_core::freshness::{self, Counts};
use keyward_core::verify::{Refusal, Verdict, Verifier};
use metrics::{Counter, Gauge, Histogram, counter, describe_counter, describe_gauge};
use metrics::{describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use warp::http::StatusCode;

/// Upper bounds in seconds: from a write in the page cache to the deadline of a request.
const SECONDS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Where a key was presented.
#[derive(Debug, Clone, Copy)]
pub enum Endpoint {
    Verify,
    ForwardAuth,
}

/// Outcomes of a verification: accepted, and refused by reason in the order of [`Refusal::ALL`].
const OUTCOMES: usize = 1 + Refusal::ALL.len();
/// Classes of status, from 1xx.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Places in which threads count: as many as threads of a large machine need so that few share one.
const PLACES: usize = 64;

/// What each request is counted in. Threads count in places of their own, and whoever asks adds them
/// up: cores that count in one place wait for each other at every request.
#[derive(Default)]
#[repr(align(128))]
struct Tally {
    /// By [`Endpoint`].
    verdicts: [[AtomicU64; OUTCOMES]; 2],
    answers: [AtomicU64; CLASSES.len()],
}

thread_local! {
    /// The place in which this thread counts.
    static PLACE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % PLACES
    };
}

/// Of a store that others write too.
struct Freshness {
    age: Gauge,
    barrier: Gauge,
    /// Applied, and failed.
    polls: [Counter; 2],
    waits: Counter,
    resets: Counter,
}

/// The counters, found once: looking a counter up by its labels would cost more than a verification.
pub struct Metrics {
    handle: PrometheusHandle,
    tallies: Box<[Tally]>,
    /// By [`Endpoint`].
    verdicts: [[Counter; OUTCOMES]; 2],
    answers: [Counter; CLASSES.len()],
    cache_entries: Gauge,
    cache_hits: Counter,
    fills_discarded: Counter,
    store_lookups: Counter,
    uses_written: Counter,
    uses_dropped: Counter,
    freshness: Freshness,
    /// Open connections.
    pub connections: Gauge,
    create_seconds: Histogram,
    revoke_seconds: Histogram,
}

impl Metrics {
    /// All counters at zero.
    ///
    /// # Errors
    ///
    /// When the bounds of the histograms make no sense.
    pub fn new(storage: &'static str) -> Result<Self, BuildError> {
        let recorder = PrometheusBuilder::new().set_buckets(&SECONDS)?.build_recorder();
        // Counters keep what they need of the recorder, so it does not have to be the process's.
        Ok(metrics::with_local_recorder(&recorder, || Self::register(recorder.handle(), storage)))
    }

    fn register(handle: PrometheusHandle, storage: &'static str) -> Self {
        describe();
        gauge!("keyward_build_info", "version" => env!("CARGO_PKG_VERSION"), "storage" => storage)
            .set(1.0);
        let class = |class| counter!("keyward_http_responses_total", "class" => class);
        Self {
            handle,
            tallies: (0..PLACES).map(|_| Tally::default()).collect(),
            verdicts: ["verify", "forward_auth"].map(verdicts_of),
            answers: CLASSES.map(class),
            cache_entries: gauge!("keyward_cache_entries"),
            cache_hits: counter!("keyward_cache_hits_total"),
            fills_discarded: counter!("keyward_fills_discarded_total"),
            freshness: Freshness::register(),
            store_lookups: counter!("keyward_store_lookups_total"),
            uses_written: counter!("keyward_uses_written_total"),
            uses_dropped: counter!("keyward_uses_dropped_total"),
            connections: gauge!("keyward_connections"),
            create_seconds: histogram!("keyward_change_seconds", "change" => "create"),
            revoke_seconds: histogram!("keyward_change_seconds", "change" => "revoke"),
        }
    }

    /// Counts a verdict.
    pub fn count(&self, endpoint: Endpoint, verdict: &Verdict) {
        let outcome = match verdict {
            Verdict::Accepted(_) => 0,
            Verdict::Refused(refusal) => 1 + *refusal as usize,
        };
        self.tally().verdicts[endpoint as usize][outcome].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an answer.
    pub fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len());
        self.tally().answers[class - 1].fetch_add(1, Ordering::Relaxed);
    }

    fn tally(&self) -> &Tally {
        &self.tallies[PLACE.with(|place| *place)]
    }

    /// What one count is, over all threads.
    fn sum(&self, of: impl Fn(&Tally) -> &AtomicU64) -> u64 {
        self.tallies.iter().map(|tally| of(tally).load(Ordering::Relaxed)).sum()
    }

    /// Notes how long a creation took.
    pub fn created(&self, took: Duration) {
        self.create_seconds.record(took);
    }

    /// Notes how long a revocation took.
    pub fn revoked(&self, took: Duration) {
        self.revoke_seconds.record(took);
    }

    /// Everything in the text format of Prometheus, with what is only known when asked.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub fn render(&self, verifier: &Verifier) -> String {
        for (endpoint, verdicts) in self.verdicts.iter().enumerate() {
            for (outcome, verdict) in verdicts.iter().enumerate() {
                verdict.absolute(self.sum(|it| &it.verdicts[endpoint][outcome]));
            }
        }
        for (class, answers) in self.answers.iter().enumerate() {
            answers.absolute(self.sum(|it| &it.answers[class]));
        }
        let cache = verifier.cache();
        self.cache_entries.set(cache.len() as f64);
        self.cache_hits.absolute(cache.hits());
        self.fills_discarded.absolute(cache.discarded());
        self.store_lookups.absolute(verifier.lookups());
        self.uses_written.absolute(verifier.uses().written());
        self.uses_dropped.absolute(verifier.uses().dropped());
        if let Some(freshness) = verifier.freshness() {
            self.freshness.read(freshness);
        }
        self.handle.render()
    }

    /// Folds what histograms have gathered; to be called now and then, asked or not.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

impl Freshness {
    fn register() -> Self {
        let polls = |outcome| counter!("keyward_polls_total", "outcome" => outcome);
        Self {
            age: gauge!("keyward_freshness_age_seconds"),
            barrier: gauge!("keyward_revocation_barrier_seconds"),
            polls: ["applied", "failed"].map(polls),
            waits: counter!("keyward_poll_waits_total"),
            resets: counter!("keyward_history_resets_total"),
        }
    }

    fn read(&self, freshness: &freshness::Freshness) {
        let Counts { applied, failed, resets, waits } = freshness.counts();
        self.age.set(freshness.age().map_or(f64::INFINITY, |age| age.as_secs_f64()));
        self.barrier.set(freshness.barrier().as_secs_f64());
        self.polls[0].absolute(applied);
        self.polls[1].absolute(failed);
        self.waits.absolute(waits);
        self.resets.absolute(resets);
    }
}

fn verdicts_of(endpoint: &'static str) -> [Counter; OUTCOMES] {
    let outcome = |outcome: &'static str| counter!("keyward_verifications_total", "endpoint" => endpoint, "outcome" => outcome);
    let refused = |at: usize| Refusal::ALL[at - 1].code();
    std::array::from_fn(|at| outcome(if at == 0 { "accepted" } else { refused(at) }))
}

fn describe() {
    describe_counter!("keyward_verifications_total", "Verdicts on presented keys");
    describe_counter!("keyward_http_responses_total", "Answers by class of status");
    describe_counter!("keyward_store_lookups_total", "Verifications that had to ask the store");
    describe_counter!("keyward_cache_hits_total", "Verifications that found the key in memory");
    describe_counter!(
        "keyward_fills_discarded_total",
        "Lookups whose record was not kept, because something was evicted meanwhile"
    );
    describe_counter!("keyward_uses_written_total", "Last uses of keys that were written");
    describe_counter!(
        "keyward_uses_dropped_total",
        "Last uses of keys that were not noted, because too many waited to be written"
    );
    describe_gauge!(
        "keyward_freshness_age_seconds",
        "Since the newest poll was sent that is applied; 0 on a storage that only this process writes"
    );
    describe_gauge!(
        "keyward_revocation_barrier_seconds",
        "How long a revocation waits until no node can answer from memory as before"
    );
    describe_counter!("keyward_polls_total", "Questions to the database what has changed");
    describe_counter!("keyward_poll_waits_total", "Verifications that waited for a poll");
    describe_counter!(
        "keyward_history_resets_total",
        "How often everything was forgotten, because anything may have changed"
    );
    describe_gauge!("keyward_cache_entries", "Key records remembered in memory");
    describe_gauge!("keyward_connections", "Open connections");
    describe_gauge!("keyward_build_info", "Always 1; the labels tell version and storage");
    describe_histogram!("keyward_change_seconds", "Time that a change of a key took");
}
