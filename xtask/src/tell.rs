//! What is told to the person at the terminal: answers on standard output, and the rest, with one
//! line that tells how far a long piece of work is, on standard error.
//!
//! Somebody who has stopped reading, as `head` does, is no reason to stop the work: what cannot be
//! written is dropped.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Writes a line to standard output.
pub fn say(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Writes a line to standard error.
pub fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// How often the line is said again where there is no terminal to redraw it on.
const EVERY: Duration = Duration::from_mins(1);

/// The line. It goes to standard error; on anything but a terminal it is written once a minute.
pub struct Live {
    terminal: bool,
    drawn: bool,
    written: Instant,
}

impl Live {
    /// Nothing is shown yet.
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), drawn: false, written: Instant::now() }
    }

    /// Shows `text` in place of what the line showed before.
    pub fn show(&mut self, text: &str) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[2K{text}");
            self.drawn = true;
        } else if self.written.elapsed() >= EVERY {
            note(text);
            self.written = Instant::now();
        }
    }

    /// Takes the line away, so that something else can be written.
    pub fn clear(&mut self) {
        if self.drawn {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
            self.drawn = false;
        }
    }

    /// Writes a line that stays.
    pub fn print(&mut self, text: &str) {
        self.clear();
        note(text);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A duration as people say it: `42s`, `3m 05s`.
pub fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        format!("{seconds}s")
    } else {
        format!("{}m {:02}s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_told_in_minutes_from_a_minute_on() {
        assert_eq!(spoken(Duration::from_millis(59_900)), "59s");
        assert_eq!(spoken(Duration::from_secs(185)), "3m 05s");
    }
}
