//! What a run found out, and where it is kept: a table for the terminal, a page for people, JSON for
//! programs, and a chart.

mod chart;
mod markdown;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::goal::{Aim, Verdict};
use crate::machine::Machine;
use crate::statistics::Spread;

/// By how many bytes answers may differ, on average: the number in a request's id grows, and a time
/// is shorter where its fraction is zero.
const SLACK: u64 = 3;

/// How the run was set up.
#[derive(Debug, Serialize)]
pub struct Settings {
    pub keys: usize,
    /// Keys that the largest store has.
    pub most_keys: usize,
    pub connections: usize,
    pub slices: usize,
    pub seconds_per_slice: u64,
}

/// Everything that a run found out.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: Machine,
    /// What matters of the Postgres, where one was used.
    pub postgres: Option<String>,
    /// How long the run took, with all that was made ready for it.
    pub run_seconds: u64,
    pub settings: Settings,
    pub rows: Vec<RowResult>,
}

/// One row.
#[derive(Debug, Serialize)]
pub struct RowResult {
    name: &'static str,
    /// How many asked at once, where the sides do not differ in that.
    clients: usize,
    /// What must be known to read the figures, or why there are none.
    remarks: Vec<String>,
    sides: Vec<SideResult>,
    verdicts: Vec<Verdict>,
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
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Sample {
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    /// CPU time of the process under test for each, in microseconds.
    pub cpu_us: f64,
    /// The part of it that was spent outside the kernel, 0 to 1.
    pub cpu_user_share: f64,
    /// CPU time of Postgres for each, in microseconds.
    pub postgres_cpu_us: Option<f64>,
    /// Length of an answer over HTTP; zero where there is none.
    pub answer_bytes: u64,
    /// Until the first byte of the body came, in the middle, where that was asked.
    pub first_byte_us: Option<f64>,
    /// By how much the memory of the process grew at most, where that was asked.
    pub growth_mib: Option<f64>,
}

/// The slices of each side by its name, as they were measured.
pub type Measured = Vec<(&'static str, Vec<Sample>)>;

impl Report {
    pub fn new(settings: Settings) -> Self {
        let machine = Machine::here();
        Self { machine, postgres: None, run_seconds: 0, settings, rows: Vec::new() }
    }

    /// Writes page, JSON and chart into `directory`, and says which files they are.
    pub fn save(&self, directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let files = [
            ("report.md", markdown::page(self)?),
            ("report.json", serde_json::to_string_pretty(self)?),
            ("report.svg", chart::draw(self)?),
        ];
        std::fs::create_dir_all(directory)
            .with_context(|| format!("making {}", directory.display()))?;
        let mut written = Vec::new();
        for (name, text) in files {
            let path = directory.join(name);
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            written.push(path);
        }
        Ok(written)
    }

    /// All goals with the names of their rows.
    fn verdicts(&self) -> impl Iterator<Item = (&'static str, &Verdict)> {
        self.rows.iter().flat_map(|row| row.verdicts.iter().map(|verdict| (row.name, verdict)))
    }

    /// How many goals were met, and how many were not.
    fn score(&self) -> String {
        let met = self.verdicts().filter(|(_, verdict)| verdict.met).count();
        format!("{met} goals met, {} missed", self.verdicts().count() - met)
    }

    /// What was measured how, in sentences.
    fn explanation(&self) -> String {
        let Settings { keys, most_keys, slices, seconds_per_slice, .. } = self.settings;
        format!(
            "Sides in turns, medians of {slices} slices of {seconds_per_slice} s where a row says \
             nothing else; {keys} keys, {most_keys} in the largest store; load over HTTP from one thread. CPU: µs for each, of the \
             process and of Postgres. Beside the floor, the first side of each row: median \
             [quartiles] of the slices."
        )
    }
}

impl RowResult {
    /// The result of these slices. Where there is a floor it is the first side.
    ///
    /// # Errors
    ///
    /// When an aim names no side.
    pub fn new(
        (name, clients): (&'static str, usize),
        measured: Measured,
        has_floor: bool,
        remarks: Vec<String>,
        aims: &[Aim],
    ) -> anyhow::Result<Self> {
        let floor =
            if has_floor { measured.first().map(|(_, slices)| slices.clone()) } else { None };
        let mut verdicts = Vec::new();
        for aim in aims {
            let other = match aim.beside {
                Some(other) => Some(slices_of(&measured, other)?),
                None => floor.as_deref(),
            };
            // Where there is no pgbench, Postgres itself has no floor.
            verdicts.extend(aim.judge(slices_of(&measured, aim.side)?, other));
        }
        let mut sides = Vec::new();
        for (name, slices) in measured {
            let floor = floor.as_ref().filter(|_| !sides.is_empty());
            let beside_floor = floor.map(|floor| BesideFloor::of(&slices, floor));
            sides.push(SideResult { name, beside_floor, slices });
        }
        Ok(Self { name, clients, remarks, sides, verdicts })
    }

    /// A row that is verdicts alone.
    pub fn of_verdicts(name: &'static str, verdicts: Vec<Verdict>, remarks: Vec<String>) -> Self {
        Self { name, clients: 1, remarks, sides: Vec::new(), verdicts }
    }

    /// A row that could not be measured.
    pub fn absent(name: &'static str, clients: usize, reason: &str) -> Self {
        let remarks = vec![reason.to_owned()];
        Self { name, clients, remarks, sides: Vec::new(), verdicts: Vec::new() }
    }
}

fn slices_of<'a>(measured: &'a Measured, name: &str) -> anyhow::Result<&'a [Sample]> {
    let side = measured.iter().find(|(side, _)| *side == name);
    let (_, slices) = side.with_context(|| format!("no side is called {name}"))?;
    Ok(slices)
}

/// Whether all sides that answered over HTTP sent the same amount, within [`SLACK`].
pub fn check_answers(measured: &Measured) -> anyhow::Result<()> {
    let lengths = |round: usize| {
        let slices = measured.iter().filter_map(move |(_, slices)| slices.get(round));
        slices.map(|it| it.answer_bytes).filter(|bytes| *bytes > 0)
    };
    for round in 0..measured.first().map_or(0, |(_, slices)| slices.len()) {
        let (least, most) = (lengths(round).min(), lengths(round).max());
        if let (Some(least), Some(most)) = (least, most)
            && most - least > SLACK
        {
            bail!("answers of {least} and of {most} bytes");
        }
    }
    Ok(())
}

impl BesideFloor {
    fn of(ours: &[Sample], floor: &[Sample]) -> Self {
        let pairs = || ours.iter().zip(floor);
        Self {
            per_second: Spread::of(pairs().map(|(ours, floor)| ours.per_second / floor.per_second)),
            cpu: Spread::of(pairs().map(|(ours, floor)| ours.all_cpu_us() / floor.all_cpu_us())),
        }
    }
}

impl SideResult {
    fn median(&self, figure: impl Fn(&Sample) -> f64) -> f64 {
        Spread::of(self.slices.iter().map(figure)).median
    }

    fn postgres(&self) -> Option<f64> {
        let figures: Option<Vec<f64>> = self.slices.iter().map(|it| it.postgres_cpu_us).collect();
        figures.map(|figures| Spread::of(figures).median)
    }
}

impl Sample {
    /// CPU time for each, with that of Postgres, in microseconds.
    pub fn all_cpu_us(&self) -> f64 {
        self.cpu_us + self.postgres_cpu_us.unwrap_or(0.0)
    }

    /// CPU time of Postgres in a second, in microseconds.
    pub fn postgres_load(&self) -> Option<f64> {
        Some(self.postgres_cpu_us? * self.per_second)
    }
}
