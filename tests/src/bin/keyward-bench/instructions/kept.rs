//! What was counted before, and how it is compared with what is counted now.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::rows::{ROWS, Row};
use crate::machine::said_by;

/// Percent by which a count may differ from the one that is kept.
const TOLERANCE: u64 = 5;

/// Instructions, by row.
pub type Counts = BTreeMap<String, u64>;

/// What is kept in the repository: a line for each row, for people to read and to compare.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    pub counted_with: Tools,
    pub instructions: Counts,
}

/// What a count depends on besides the code.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tools {
    processor: String,
    rustc: String,
    valgrind: String,
}

impl Tools {
    /// Those that are here.
    pub fn here() -> anyhow::Result<Self> {
        Ok(Self {
            processor: std::env::consts::ARCH.to_owned(),
            rustc: said_by("rustc", &["--version"]).context("rustc does not say its version")?,
            valgrind: said_by("valgrind", &["--version"]).context("valgrind is not there")?,
        })
    }
}

impl fmt::Display for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.processor, self.rustc, self.valgrind)
    }
}

impl Kept {
    /// Reads what is kept.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("reading {}; --keep makes it", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
    }

    /// Keeps it from now on.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }
}

/// Why a row cannot stay as it is kept.
pub struct Finding {
    pub row: &'static Row,
    what: What,
}

enum What {
    /// It takes more.
    Worse { was: u64, is: u64 },
    /// It takes fewer. What is kept would hide that it grows again.
    Better { was: u64, is: u64 },
    /// Nothing is kept of it.
    New { is: u64 },
}

/// Compares, row by row.
pub fn judge(kept: &Counts, now: &Counts) -> Vec<Finding> {
    let rows = ROWS.iter().filter_map(|row| {
        let is = *now.get(row.name)?;
        let what = match kept.get(row.name) {
            None => What::New { is },
            Some(&was) if is * 100 > was * (100 + TOLERANCE) => What::Worse { was, is },
            Some(&was) if is * 100 < was * (100 - TOLERANCE) => What::Better { was, is },
            Some(_) => return None,
        };
        Some(Finding { row, what })
    });
    rows.collect()
}

/// By how many percent it grew.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn change(was: u64, is: u64) -> f64 {
    (is as f64 / was as f64 - 1.0) * 100.0
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.row.name)?;
        let (was, is) = match self.what {
            What::New { is } => {
                return write!(f, "{} instructions, and nothing to compare with", grouped(is));
            }
            What::Worse { was, is } | What::Better { was, is } => (was, is),
        };
        write!(f, "was {}, is {}, {:+.1} %", grouped(was), grouped(is), change(was, is))?;
        match self.what {
            What::Better { .. } => f.write_str(", better than what is kept: keep it"),
            _ => Ok(()),
        }
    }
}

/// The table: what is kept, what was counted, and by how much it changed.
pub fn table(kept: &Counts, now: &Counts) -> String {
    let mut table =
        format!("{:18}{:>12}{:>12}{:>10}\n", "instructions of", "kept", "now", "change");
    for row in ROWS {
        let (was, is) = (kept.get(row.name).copied(), now.get(row.name).copied());
        let shown = |count: Option<u64>| count.map_or("–".to_owned(), grouped);
        let changed = was.zip(is).map(|(was, is)| format!("{:+.1} %", change(was, is)));
        let changed = changed.unwrap_or_default();
        // Writing to a text does not fail.
        let _ = writeln!(table, "{:18}{:>12}{:>12}{changed:>10}", row.name, shown(was), shown(is));
    }
    table
}

/// A number with a comma after each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(forward_auth: u64) -> Counts {
        let mut counts: Counts = ROWS.iter().map(|row| (row.name.to_owned(), 1_000)).collect();
        counts.insert("forward-auth".to_owned(), forward_auth);
        counts
    }

    fn findings(was: u64, is: u64) -> Vec<String> {
        let findings = judge(&counts(was), &counts(is));
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_count_may_differ_by_five_percent_in_both_directions() {
        assert_eq!(findings(40_000, 42_000), [""; 0]);
        assert_eq!(findings(40_000, 38_000), [""; 0]);
    }

    #[test]
    fn more_than_that_is_told_with_both_counts() {
        assert_eq!(findings(40_000, 42_120), ["forward-auth: was 40,000, is 42,120, +5.3 %"]);
    }

    #[test]
    fn less_than_that_is_told_too_because_it_would_hide_the_next_growth() {
        let told = "forward-auth: was 40,000, is 37,880, -5.3 %, better than what is kept: keep it";
        assert_eq!(findings(40_000, 37_880), [told]);
    }

    #[test]
    fn a_row_of_which_nothing_is_kept_is_told() {
        let mut kept = counts(40_000);
        kept.remove("forward-auth");
        let findings = judge(&kept, &counts(40_000));
        let told: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["forward-auth: 40,000 instructions, and nothing to compare with"]);
    }

    #[test]
    fn what_is_written_is_read_back_and_has_a_line_for_each_row() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("instructions.json");
        let counted_with = Tools {
            processor: "x86_64".into(),
            rustc: "rustc 1.95.0".into(),
            valgrind: "valgrind-3.19.0".into(),
        };
        let kept = Kept { counted_with, instructions: counts(40_000) };
        kept.write(&file).unwrap();
        assert_eq!(Kept::read(&file).unwrap(), kept);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.lines().any(|line| line == r#"    "forward-auth": 40000,"#), "{text}");
    }

    #[test]
    fn the_table_is_aligned_and_shows_what_is_missing() {
        let mut kept = counts(40_000);
        kept.remove("create");
        let table = table(&kept, &counts(42_000));
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[2], "forward-auth            40,000      42,000    +5.0 %");
        assert_eq!(lines[5], "create                       –       1,000          ");
        let widths: Vec<_> = lines.iter().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
    }

    #[test]
    fn digits_are_grouped_by_three() {
        let numbers = [0, 999, 1_000, 33_521, 1_367_188].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "33,521", "1,367,188"]);
    }
}
