//! How far a copy has come, on standard error: a bar for a terminal, a line now and then for a log.

use std::cell::Cell;
use std::fmt;
use std::io::{IsTerminal as _, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// Time between two lines.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// The progress of one walk, which ends with this value.
pub struct Progress {
    what: &'static str,
    total: Option<u64>,
    done: Cell<u64>,
    show: Show,
}

enum Show {
    Bar(ProgressBar),
    Lines { begun: Instant, told: Cell<Instant> },
}

impl Progress {
    /// Begins, with the number of records where it is known.
    pub fn start(what: &'static str, total: Option<u64>) -> Self {
        let show = if stderr().is_terminal() {
            Show::Bar(bar(what, total))
        } else {
            let now = Instant::now();
            Show::Lines { begun: now, told: Cell::new(now) }
        };
        let progress = Self { what, total, done: Cell::new(0), show };
        progress.tell();
        progress
    }

    /// So many records more are done.
    pub fn add(&self, records: u64) {
        self.done.set(self.done.get() + records);
        match &self.show {
            Show::Bar(bar) => bar.inc(records),
            Show::Lines { told, .. } => {
                if told.get().elapsed() >= BETWEEN_LINES {
                    told.set(Instant::now());
                    self.tell();
                }
            }
        }
    }

    fn tell(&self) {
        let Show::Lines { begun, .. } = self.show else { return };
        let (what, done) = (self.what, self.done.get());
        let of = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
        let millis = begun.elapsed().as_millis().max(1);
        let rate = u128::from(done) * 1_000 / millis;
        eprintln!("{what}: {done}{of} records, {rate}/s");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        match &self.show {
            Show::Bar(bar) => bar.finish_and_clear(),
            Show::Lines { .. } => self.tell(),
        }
    }
}

fn bar(what: &'static str, total: Option<u64>) -> ProgressBar {
    let template = match total {
        Some(_) => "{msg:9} {wide_bar} {human_pos}/{human_len} {rate}, {eta} left",
        None => "{msg:9} {spinner} {human_pos} {rate}",
    };
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr())
        .with_style(style.with_key("rate", rate))
        .with_message(what)
}

fn rate(state: &ProgressState, text: &mut dyn fmt::Write) {
    // It is drawn to memory first, which does not fail.
    let _ = write!(text, "{:.0}/s", state.per_sec());
}
