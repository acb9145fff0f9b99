//! Counting what is done in a slice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use hdrhistogram::Histogram;
use tokio::time::sleep;

use crate::cpu::{Processes, Used};
use crate::report::Sample;

/// The beginning of a slice is not measured: connections are opened and caches filled.
pub const RUN_UP: Duration = Duration::from_millis(300);
/// The longest latency that can be told from a longer one.
const MAX_LATENCY: Duration = Duration::from_mins(1);

/// One slice: those who load count in it, and end when it is over.
#[derive(Debug)]
pub struct Watch {
    tally: Mutex<Tally>,
    over: AtomicBool,
}

impl Watch {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { tally: Mutex::new(Tally::new()?), over: AtomicBool::new(false) })
    }

    /// Counts something that was done and took so long. `bytes` came back for it.
    pub fn count(&self, took: Duration, bytes: usize) {
        self.tally().count(took, bytes);
    }

    /// Whether the slice is over.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Lets the load run up, watches it and the processes for `time`, and ends it.
    pub async fn run(&self, time: Duration, processes: &Processes) -> anyhow::Result<Sample> {
        sleep(RUN_UP).await;
        self.tally().reset();
        let (begun, cpu) = (Instant::now(), processes.read()?);
        sleep(time).await;
        let sample = self.tally().sample(begun.elapsed(), processes.read()?.since(&cpu));
        self.over.store(true, Ordering::Relaxed);
        sample
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much was done, and how long it took.
#[derive(Debug)]
pub struct Tally {
    count: u32,
    bytes: u64,
    nanoseconds: Histogram<u64>,
}

impl Tally {
    pub fn new() -> anyhow::Result<Self> {
        let longest = u64::try_from(MAX_LATENCY.as_nanos())?;
        let nanoseconds = Histogram::new_with_bounds(1000, longest, 3)?;
        Ok(Self { count: 0, bytes: 0, nanoseconds })
    }

    fn reset(&mut self) {
        self.count = 0;
        self.bytes = 0;
        self.nanoseconds.reset();
    }

    pub fn count(&mut self, took: Duration, bytes: usize) {
        self.count += 1;
        self.bytes += bytes as u64;
        self.nanoseconds.saturating_record(took.as_nanos().try_into().unwrap_or(u64::MAX));
    }

    /// How many were counted.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// What this comes to, where it was done in `elapsed`.
    pub fn sample(&self, elapsed: Duration, cpu: Used) -> anyhow::Result<Sample> {
        if self.count == 0 {
            bail!("not one answer in a whole slice");
        }
        let latency = |quantile| {
            Duration::from_nanos(self.nanoseconds.value_at_quantile(quantile)).as_secs_f64() * 1e6
        };
        let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(self.count);
        Ok(Sample {
            per_second: f64::from(self.count) / elapsed.as_secs_f64(),
            p50_us: latency(0.50),
            p99_us: latency(0.99),
            p999_us: latency(0.999),
            cpu_us: each(cpu.own),
            cpu_user_share: cpu.user_share,
            postgres_cpu_us: cpu.postgres.map(each),
            answer_bytes: self.bytes / u64::from(self.count),
            first_byte_us: None,
            growth_mib: None,
        })
    }
}
