//! What is aimed at, and whether it was reached. The goals themselves are data of the rows.

use std::fmt;

use serde::Serialize;

use crate::report::Sample;
use crate::statistics::Spread;

/// What one side of a row is to reach.
#[derive(Debug, Clone, Copy)]
pub struct Aim {
    pub side: &'static str,
    pub goal: Goal,
    /// The side that it is judged beside; `None` for the floor.
    pub beside: Option<&'static str>,
}

/// A figure, and what it is to be. Those beside another are taken slice by slice.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// CPU time for each, with that of Postgres, beside the floor's: at most so much.
    Cpu(f64),
    /// How many there are in a second, beside the floor: at least so many.
    PerSecond(f64),
    /// The middle of the times, beside the floor's: at most so long.
    Time(f64),
    /// CPU time of Postgres in a second, beside that of another side: at most so much.
    PostgresLoad(f64),
    /// Ninety-nine in a hundred took at most so many milliseconds.
    P99(f64),
    /// The first byte of the answer's body came after at most so many milliseconds.
    FirstByte(f64),
    /// The server's memory grew by at most so many MiB.
    Growth(f64),
}

/// Which side of a goal is the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtMost,
    AtLeast,
}

/// What a figure is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Unit {
    #[serde(rename = "ratio")]
    Ratio,
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "MiB")]
    Mebibytes,
}

/// A goal beside the figure that was measured, judged by its median.
#[derive(Debug, Serialize)]
pub struct Verdict {
    pub side: &'static str,
    pub figure: &'static str,
    pub unit: Unit,
    pub bound: Bound,
    pub goal: f64,
    pub measured: Spread,
    pub met: bool,
}

impl Aim {
    /// The verdict over these slices, beside those of another side; `None` where what the goal is about
    /// was not measured.
    pub fn judge(self, ours: &[Sample], other: Option<&[Sample]>) -> Option<Verdict> {
        let beside = |figure: fn(&Sample) -> Option<f64>| {
            let pairs = ours.iter().zip(other?);
            pairs.map(|(ours, other)| Some(figure(ours)? / figure(other)?)).collect()
        };
        let alone = |figure: fn(&Sample) -> Option<f64>| ours.iter().map(figure).collect();
        let (figure, goal, figures): (_, _, Option<Vec<f64>>) = match self.goal {
            Goal::Cpu(goal) => ("CPU beside floor", goal, beside(|it| Some(it.all_cpu_us()))),
            Goal::PerSecond(goal) => {
                ("each/s beside floor", goal, beside(|it| Some(it.per_second)))
            }
            Goal::Time(goal) => ("p50 beside floor", goal, beside(|it| Some(it.p50_us))),
            Goal::PostgresLoad(goal) => {
                ("Postgres CPU a second beside light load", goal, beside(Sample::postgres_load))
            }
            Goal::P99(goal) => ("p99", goal, alone(|it| Some(it.p99_us / 1000.0))),
            Goal::FirstByte(goal) => {
                ("first byte", goal, alone(|it| Some(it.first_byte_us? / 1000.0)))
            }
            Goal::Growth(goal) => ("memory growth", goal, alone(|it| it.growth_mib)),
        };
        let (unit, bound) = match self.goal {
            Goal::PerSecond(_) => (Unit::Ratio, Bound::AtLeast),
            Goal::P99(_) | Goal::FirstByte(_) => (Unit::Milliseconds, Bound::AtMost),
            Goal::Growth(_) => (Unit::Mebibytes, Bound::AtMost),
            _ => (Unit::Ratio, Bound::AtMost),
        };
        Some(Verdict::new(self.side, figure, unit, (bound, goal), Spread::of(figures?)))
    }
}

impl Verdict {
    pub fn new(
        side: &'static str,
        figure: &'static str,
        unit: Unit,
        (bound, goal): (Bound, f64),
        measured: Spread,
    ) -> Self {
        let met = match bound {
            Bound::AtMost => measured.median <= goal,
            Bound::AtLeast => measured.median >= goal,
        };
        Self { side, figure, unit, bound, goal, measured, met }
    }

    /// The goal in signs, as `≤ 1.10`.
    pub fn goal(&self) -> String {
        let sign = match self.bound {
            Bound::AtMost => '≤',
            Bound::AtLeast => '≥',
        };
        format!("{sign} {:.2}{}", self.goal, self.unit)
    }

    pub fn word(&self) -> &'static str {
        if self.met { "met" } else { "missed" }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ratio => "",
            Self::Milliseconds => " ms",
            Self::Mebibytes => " MiB",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(per_second: f64, cpu_us: f64) -> Sample {
        Sample { per_second, cpu_us, ..Sample::default() }
    }

    fn judge(goal: Goal, ours: Sample, floor: Sample) -> Option<bool> {
        let aim = Aim { side: "keyward", goal, beside: None };
        aim.judge(&[ours], Some(&[floor])).map(|verdict| verdict.met)
    }

    #[test]
    fn a_goal_is_met_up_to_its_bound_and_missed_beyond_it() {
        let floor = sample(100.0, 10.0);
        assert_eq!(judge(Goal::Cpu(1.5), sample(1.0, 15.0), floor), Some(true));
        assert_eq!(judge(Goal::Cpu(1.5), sample(1.0, 15.1), floor), Some(false));
        assert_eq!(judge(Goal::PerSecond(0.75), sample(75.0, 1.0), floor), Some(true));
        assert_eq!(judge(Goal::PerSecond(0.75), sample(74.9, 1.0), floor), Some(false));
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        assert_eq!(judge(Goal::Growth(1.0), sample(1.0, 1.0), sample(1.0, 1.0)), None);
        assert_eq!(judge(Goal::PostgresLoad(1.0), sample(1.0, 1.0), sample(1.0, 1.0)), None);
        let aim = Aim { side: "keyward", goal: Goal::Cpu(1.0), beside: None };
        assert!(aim.judge(&[sample(1.0, 1.0)], None).is_none());
    }
}
