//! The chart: a bar for each ratio that has a goal, and the goal as a tick across it. The file is
//! complete in itself, and has colours for a light and for a dark page.

use std::fmt::{self, Write as _};

use crate::goal::{Unit, Verdict};

use super::Report;

const WIDTH: f64 = 760.0;
/// Where bars begin, and where a ratio of [`LONGEST`] ends.
const LEFT: f64 = 400.0;
const RIGHT: f64 = 690.0;
/// Ratios beyond this one are cut off: their figure still stands behind the bar.
const LONGEST: f64 = 2.0;
const TOP: f64 = 34.0;
const LINE: f64 = 20.0;
const BAR: f64 = 11.0;

const STYLE: &str = "\
text{font:11px system-ui,sans-serif;fill:#24292f}.met{fill:#2da44e}.missed{fill:#cf222e}\
.goal{stroke:#24292f;stroke-width:2}.grid{stroke:#d0d7de;stroke-width:1}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.met{fill:#3fb950}.missed{fill:#f85149}\
.goal{stroke:#e6edf3}.grid{stroke:#30363d}}";

/// Draws it.
pub fn draw(report: &Report) -> Result<String, fmt::Error> {
    let ratios: Vec<_> =
        report.verdicts().filter(|(_, verdict)| verdict.unit == Unit::Ratio).collect();
    let lines = u32::try_from(ratios.len()).unwrap_or(u32::MAX);
    let bottom = f64::from(lines).mul_add(LINE, TOP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\">\n\
         <title>What Keyward costs beside the least that the same could cost</title>\n\
         <style>{STYLE}</style>\n",
        bottom + 10.0
    );
    for (ratio, label) in [(0.0, "0"), (0.5, "0.5"), (1.0, "the floor"), (1.5, "1.5"), (2.0, "2")] {
        let x = along(ratio);
        writeln!(svg, r#"<path class="grid" d="M{x} 22V{bottom}"/>"#)?;
        writeln!(svg, r#"<text x="{x}" y="14" text-anchor="middle">{label}</text>"#)?;
    }
    let mut y = TOP;
    for (row, verdict) in ratios {
        bar(&mut svg, row, verdict, y)?;
        y += LINE;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

fn bar(svg: &mut String, row: &str, verdict: &Verdict, y: f64) -> fmt::Result {
    let Verdict { side, figure, goal, measured, .. } = verdict;
    let figure = figure.split(" beside ").next().unwrap_or(figure);
    let (length, baseline) = (along(measured.median) - LEFT, y + BAR - 2.0);
    let (label, class) = (escaped(&format!("{row}, {side}: {figure}")), verdict.word());
    writeln!(svg, r#"<text x="{}" y="{baseline}" text-anchor="end">{label}</text>"#, LEFT - 8.0)?;
    writeln!(
        svg,
        r#"<rect class="{class}" x="{LEFT}" y="{y}" width="{length:.1}" height="{BAR}"/>"#
    )?;
    let (tick, above, below) = (along(*goal), y - 2.0, y + BAR + 2.0);
    writeln!(svg, r#"<path class="goal" d="M{tick:.1} {above}V{below}"/>"#)?;
    let behind = RIGHT + 10.0;
    writeln!(svg, r#"<text x="{behind}" y="{baseline}">{:.2}</text>"#, measured.median)
}

/// Where a ratio stands.
fn along(ratio: f64) -> f64 {
    (RIGHT - LEFT).mul_add(ratio.clamp(0.0, LONGEST) / LONGEST, LEFT)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "these figures are exact in binary")]
    fn a_ratio_stands_on_the_axis_or_at_its_end() {
        assert_eq!([along(0.0), along(2.0), along(9.0)], [LEFT, RIGHT, RIGHT]);
        assert_eq!(along(1.0), f64::midpoint(LEFT, RIGHT));
    }
}
