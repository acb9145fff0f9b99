//! The page: all figures for people, with nothing that stands elsewhere but the chart beside it.

use std::fmt::{self, Write as _};

use super::{Report, RowResult, Settings, SideResult};

const VERDICTS: &str = "\
| row | side | figure | goal | measured | |
|---|---|---|---|---|---|
";
const FIGURES: &str = "\
| row | side | each/s | p50 µs | p99 µs | p99.9 µs | CPU µs | of it user | Postgres µs | each/s beside floor | CPU beside floor |
|---|---|---|---|---|---|---|---|---|---|---|
";

/// Writes the page.
pub fn page(report: &Report) -> Result<String, fmt::Error> {
    let mut page = String::from("# What Keyward costs\n\n");
    for fact in report.machine.facts().iter().chain(&report.postgres) {
        writeln!(page, "- {fact}")?;
    }
    let Settings { keys, most_keys, connections, slices, seconds_per_slice } = report.settings;
    writeln!(
        page,
        "- `cargo xtask bench -- --keys {keys} --most-keys {most_keys} --connections {connections} \
         --slices {slices} --seconds {seconds_per_slice}`: {} s in all\n\n{}\n",
        report.run_seconds,
        report.explanation()
    )?;
    writeln!(page, "![What each row costs beside its floor](report.svg)\n")?;
    writeln!(page, "## Goals\n\n{}.\n", report.score())?;
    page.push_str(VERDICTS);
    for (row, verdict) in report.verdicts() {
        let (side, figure, goal) = (verdict.side, verdict.figure, verdict.goal());
        let measured = format!("{}{}", verdict.measured, verdict.unit);
        let word = if verdict.met { "met" } else { "**missed**" };
        writeln!(page, "| {row} | {side} | {figure} | {goal} | {measured} | {word} |")?;
    }
    writeln!(page, "\n## Figures\n")?;
    page.push_str(FIGURES);
    for row in &report.rows {
        row.sides.iter().try_for_each(|side| figures(&mut page, row, side))?;
    }
    writeln!(page, "\n## Remarks\n")?;
    for row in &report.rows {
        row.remarks.iter().try_for_each(|remark| writeln!(page, "- {}: {remark}", row.name))?;
    }
    Ok(page)
}

fn figures(page: &mut String, row: &RowResult, side: &SideResult) -> fmt::Result {
    write!(page, "| {} ({} at once) | {}", row.name, row.clients, side.name)?;
    let cells = [
        format!("{:.0}", side.median(|it| it.per_second)),
        format!("{:.0}", side.median(|it| it.p50_us)),
        format!("{:.0}", side.median(|it| it.p99_us)),
        format!("{:.0}", side.median(|it| it.p999_us)),
        format!("{:.1}", side.median(|it| it.cpu_us)),
        format!("{:.0} %", 100.0 * side.median(|it| it.cpu_user_share)),
        side.postgres().map_or(String::new(), |it| format!("{it:.1}")),
        side.beside_floor.as_ref().map_or(String::new(), |it| it.per_second.to_string()),
        side.beside_floor.as_ref().map_or(String::new(), |it| it.cpu.to_string()),
    ];
    cells.iter().try_for_each(|cell| write!(page, " | {cell}"))?;
    writeln!(page, " |")
}
