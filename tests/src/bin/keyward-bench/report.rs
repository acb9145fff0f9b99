//! The table, and the same for programs.

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::statistics::Spread;

/// By how many bytes answers may differ, on average: the number in a request's id grows, and a time
/// is shorter where its fraction is zero.
const SLACK: u64 = 3;

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
    /// What matters of the Postgres, where one was used.
    pub postgres: Option<String>,
    pub settings: Settings,
    pub rows: Vec<RowResult>,
}

/// One row.
#[derive(Debug, Serialize)]
pub struct RowResult {
    name: &'static str,
    clients: usize,
    /// Why there is no floor, or nothing at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<String>,
    sides: Vec<SideResult>,
}

/// One side of a row. Slices of the same number, one of each side, were measured close together.
#[derive(Debug, Serialize)]
struct SideResult {
    name: &'static str,
    /// Beside the floor, slice by slice; absent for the floor itself.
    beside_floor: Option<BesideFloor>,
    slices: Vec<Sample>,
}

/// The figures of a side over those of the floor.
#[derive(Debug, Serialize)]
struct BesideFloor {
    per_second: Spread,
    /// CPU time for each, with that of Postgres.
    cpu: Spread,
}

/// One slice of one side.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Sample {
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// CPU time of the process under test for each, in microseconds.
    pub cpu_us: f64,
    /// The part of it that was spent outside the kernel, 0 to 1.
    pub cpu_user_share: f64,
    /// CPU time of Postgres for each, in microseconds.
    pub postgres_cpu_us: Option<f64>,
    /// Length of an answer over HTTP; zero where there is none.
    pub answer_bytes: u64,
}

impl Report {
    pub fn new(machine: String, settings: Settings) -> Self {
        Self { machine, postgres: None, settings, rows: Vec::new() }
    }

    /// Writes the report as JSON.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_vec_pretty(self)?;
        std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))
    }
}

impl RowResult {
    /// The result of these slices. The first side is the floor, unless a remark says why not.
    ///
    /// # Errors
    ///
    /// When two sides answered over HTTP and not the same amount, within [`SLACK`].
    pub fn new(
        name: &'static str,
        clients: usize,
        measured: Vec<(&'static str, Vec<Sample>)>,
        remark: Option<&str>,
    ) -> anyhow::Result<Self> {
        let floor = if remark.is_none() { measured.first() } else { None };
        let floor = floor.map(|(_, slices)| slices.clone());
        let mut sides = Vec::new();
        for (name, slices) in measured {
            let floor = floor.as_ref().filter(|_| !sides.is_empty());
            let beside_floor = floor.map(|floor| BesideFloor::of(&slices, floor)).transpose()?;
            sides.push(SideResult { name, beside_floor, slices });
        }
        Ok(Self { name, clients, remark: remark.map(str::to_owned), sides })
    }

    /// A row that could not be measured.
    pub fn absent(name: &'static str, clients: usize, reason: &str) -> Self {
        Self { name, clients, remark: Some(reason.to_owned()), sides: Vec::new() }
    }
}

impl BesideFloor {
    fn of(ours: &[Sample], floor: &[Sample]) -> anyhow::Result<Self> {
        let pairs = || ours.iter().zip(floor);
        for (ours, floor) in pairs() {
            let bytes = [ours.answer_bytes, floor.answer_bytes];
            if !bytes.contains(&0) && bytes[0].abs_diff(bytes[1]) > SLACK {
                bail!("answers of {} and {} bytes", bytes[0], bytes[1]);
            }
        }
        Ok(Self {
            per_second: Spread::of(pairs().map(|(ours, floor)| ours.per_second / floor.per_second)),
            cpu: Spread::of(pairs().map(|(ours, floor)| ours.all_cpu_us() / floor.all_cpu_us())),
        })
    }
}

impl Sample {
    fn all_cpu_us(&self) -> f64 {
        self.cpu_us + self.postgres_cpu_us.unwrap_or(0.0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { keys, slices, seconds_per_slice, .. } = &self.settings;
        writeln!(f, "{}", self.machine)?;
        if let Some(postgres) = &self.postgres {
            writeln!(f, "{postgres}")?;
        }
        writeln!(
            f,
            "{keys} keys; load over HTTP from one thread; sides in turns, medians of {slices}"
        )?;
        writeln!(
            f,
            "slices of {seconds_per_slice} s. CPU: µs for each, of the process and of Postgres."
        )?;
        writeln!(f, "Beside the floor, the first of each row: [quartiles].")?;
        for row in &self.rows {
            row.write(f)?;
        }
        Ok(())
    }
}

impl RowResult {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = format!("{} ({} at once)", self.name, self.clients);
        let (p50, p99) = ("p50 µs", "p99 µs");
        writeln!(f)?;
        writeln!(
            f,
            "{title:46}{:>8}{p50:>9}{p99:>9}  {:>22}{:>10}  {:>19}  {:>19}",
            "each/s", "CPU (user + system)", "Postgres", "each/s beside floor", "CPU beside floor"
        )?;
        if let Some(remark) = &self.remark {
            writeln!(f, "  {remark}")?;
        }
        self.sides.iter().try_for_each(|side| side.write(f))
    }
}

impl SideResult {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let median = |figure: fn(&Sample) -> f64| Spread::of(self.slices.iter().map(figure)).median;
        let (p50, p99) = (median(|it| it.p50_us), median(|it| it.p99_us));
        let cpu = median(|it| it.cpu_us);
        let user = cpu * median(|it| it.cpu_user_share);
        let split = format!("{cpu:.1} ({user:.1} + {:.1})", cpu - user);
        let postgres: Option<Vec<f64>> = self.slices.iter().map(|it| it.postgres_cpu_us).collect();
        let postgres = postgres.map_or(String::new(), |it| format!("{:.1}", Spread::of(it).median));
        write!(f, "  {:44}{:>8.0}{p50:>9.0}{p99:>9.0}", self.name, median(|it| it.per_second))?;
        write!(f, "  {split:>22}{postgres:>10}")?;
        if let Some(BesideFloor { per_second, cpu }) = &self.beside_floor {
            write!(f, "  {:>19}  {:>19}", per_second.to_string(), cpu.to_string())?;
        }
        writeln!(f)
    }
}
