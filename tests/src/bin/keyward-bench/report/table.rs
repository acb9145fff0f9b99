//! The table in the terminal.

use std::fmt;

use super::{BesideFloor, Report, RowResult, SideResult};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine.facts().join(" · "))?;
        if let Some(postgres) = &self.postgres {
            writeln!(f, "{postgres}")?;
        }
        writeln!(f, "{}", self.explanation())?;
        self.rows.iter().try_for_each(|row| row.write(f))?;
        writeln!(f, "\n{} in {} s", self.score(), self.run_seconds)
    }
}

impl RowResult {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = format!("{} ({} at once)", self.name, self.clients);
        if self.sides.is_empty() {
            writeln!(f, "\n{}", self.name)?;
        } else {
            let (p50, p99, p999, cpu) = ("p50 µs", "p99 µs", "p99.9 µs", "CPU µs");
            write!(f, "\n{title:54}{:>9}{p50:>9}{p99:>9}{p999:>10}{cpu:>9}", "each/s")?;
            writeln!(f, "{:>10}{:>20}{:>20}", "Postgres", "each/s beside", "CPU beside")?;
        }
        self.sides.iter().try_for_each(|side| side.write(f))?;
        for verdict in &self.verdicts {
            let what = format!("{}: {} {}", verdict.side, verdict.figure, verdict.goal());
            let measured = format!("{}{}", verdict.measured, verdict.unit);
            writeln!(f, "    {what:70}{measured:>24}  {}", verdict.word())?;
        }
        self.remarks.iter().try_for_each(|remark| writeln!(f, "    {remark}"))
    }
}

impl SideResult {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = (self.median(|it| it.p50_us), self.median(|it| it.p99_us));
        let (p999, cpu) = (self.median(|it| it.p999_us), self.median(|it| it.cpu_us));
        let postgres = self.postgres().map_or(String::new(), |it| format!("{it:.1}"));
        write!(f, "  {:52}{:>9.0}", self.name, self.median(|it| it.per_second))?;
        write!(f, "{p50:>9.0}{p99:>9.0}{p999:>10.0}{cpu:>9.1}{postgres:>10}")?;
        if let Some(BesideFloor { per_second, cpu }) = &self.beside_floor {
            write!(f, "{:>20}{:>20}", per_second.to_string(), cpu.to_string())?;
        }
        writeln!(f)
    }
}
