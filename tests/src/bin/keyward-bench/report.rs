//! The table, and the same for programs.

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::statistics::Spread;

/// How the run was set up.
#[derive(Debug, Serialize)]
pub struct Settings {
    pub keys: usize,
    pub connections: usize,
    pub slices: usize,
    pub seconds_per_slice: u64,
}

/// Everything that a run found out.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: String,
    pub settings: Settings,
    pub rows: Vec<RowResult>,
}

/// The slices of one row, in pairs: what stands at the same place was measured side by side.
#[derive(Debug, Serialize)]
pub struct RowResult {
    name: &'static str,
    /// CPU time per request of keyward over that of the floor, pair by pair.
    cpu_ratio: Spread,
    keyward: Vec<Sample>,
    floor: Vec<Sample>,
}

/// One slice of one server.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sample {
    pub requests_per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// CPU time of the server for one request, in microseconds.
    pub cpu_us: f64,
    /// The part of it that was spent outside the kernel, 0 to 1.
    pub cpu_user_share: f64,
    /// Length of an answer on the wire.
    pub answer_bytes: u64,
}

impl Report {
    pub fn new(machine: String, settings: Settings) -> Self {
        Self { machine, settings, rows: Vec::new() }
    }

    /// Writes the report as JSON.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_vec_pretty(self)?;
        std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))
    }
}

impl RowResult {
    /// The result of these slices.
    ///
    /// # Errors
    ///
    /// When the two sides did not answer the same amount; a byte more or less is allowed, because
    /// a time is shorter where its fraction is zero.
    pub fn new(
        name: &'static str,
        keyward: Vec<Sample>,
        floor: Vec<Sample>,
    ) -> anyhow::Result<Self> {
        for (ours, theirs) in pairs(&keyward, &floor) {
            if ours.answer_bytes.abs_diff(theirs.answer_bytes) > 1 {
                bail!("answers of {} and {} bytes", ours.answer_bytes, theirs.answer_bytes);
            }
        }
        let cpu_ratio = pairs(&keyward, &floor).map(|(ours, theirs)| ours.cpu_us / theirs.cpu_us);
        Ok(Self { name, cpu_ratio: Spread::of(cpu_ratio), keyward, floor })
    }
}

fn pairs<'a>(
    keyward: &'a [Sample],
    floor: &'a [Sample],
) -> impl Iterator<Item = (&'a Sample, &'a Sample)> {
    keyward.iter().zip(floor)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { keys, connections, slices, seconds_per_slice } = &self.settings;
        writeln!(f, "{}", self.machine)?;
        writeln!(f, "{keys} keys, {connections} connections, one thread of load;")?;
        writeln!(f, "medians of {slices} slices of {seconds_per_slice} s [quartiles], in turns")?;
        writeln!(f)?;
        let (requests, p50, p99) = ("requests/s", "p50 µs", "p99 µs");
        writeln!(f, "{:26}{requests:>12}{p50:>9}{p99:>9}  CPU µs a request (user + system)", "")?;
        for row in &self.rows {
            row.write(f)?;
        }
        Ok(())
    }
}

impl RowResult {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        write_side(f, "keyward", &self.keyward)?;
        write_side(f, "bare warp", &self.floor)?;
        let requests = Spread::of(
            pairs(&self.keyward, &self.floor)
                .map(|(ours, theirs)| ours.requests_per_second / theirs.requests_per_second),
        );
        let label = "  keyward / bare warp";
        writeln!(f, "{label:26}{:>12.2}{:20}{}", requests.median, "", Quartiles(self.cpu_ratio))
    }
}

fn write_side(f: &mut fmt::Formatter<'_>, label: &str, samples: &[Sample]) -> fmt::Result {
    let spread = |figure: fn(&Sample) -> f64| Spread::of(samples.iter().map(figure));
    let (p50, p99) = (spread(|it| it.p50_us).median, spread(|it| it.p99_us).median);
    let requests = spread(|it| it.requests_per_second).median;
    let cpu = spread(|it| it.cpu_us);
    let user = cpu.median * spread(|it| it.cpu_user_share).median;
    let system = cpu.median - user;
    write!(f, "  {label:24}{requests:>12.0}{p50:>9.0}{p99:>9.0}{:2}", "")?;
    writeln!(f, "{} ({user:.1} + {system:.1})", Quartiles(cpu))
}

/// A median with its quartiles, to two places.
struct Quartiles(Spread);

impl fmt::Display for Quartiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { median, lower_quartile, upper_quartile } = self.0;
        write!(f, "{median:>6.2} [{lower_quartile:.2} to {upper_quartile:.2}]")
    }
}
