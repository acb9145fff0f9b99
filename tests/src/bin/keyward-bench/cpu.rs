//! CPU time of another process.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;

/// What a process had used at one moment.
#[derive(Debug)]
pub struct Reading {
    /// Time on a CPU of each thread, exact to a scheduler tick.
    threads: BTreeMap<String, Duration>,
    user_ticks: u32,
    system_ticks: u32,
}

/// What a process used between two moments.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    pub total: Duration,
    /// The part spent outside the kernel, 0 to 1. The kernel samples it more coarsely than the
    /// total, so it is good for a split, not for a comparison.
    pub user_share: f64,
}

impl Reading {
    /// Reads the clocks of the process `pid`.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .context("reading the CPU time of the server, which may have ended")?;
        let (user_ticks, system_ticks) = ticks(&stat).context("reading /proc/<pid>/stat")?;
        let mut threads = BTreeMap::new();
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread = thread?;
            // A thread that ends meanwhile has no more time to tell.
            let Ok(line) = std::fs::read_to_string(thread.path().join("schedstat")) else {
                continue;
            };
            let nanos = line.split(' ').next().unwrap_or_default().parse()?;
            let id = thread.file_name().to_string_lossy().into_owned();
            threads.insert(id, Duration::from_nanos(nanos));
        }
        Ok(Self { threads, user_ticks, system_ticks })
    }

    /// What was used since `earlier`. A thread that ended in between is left out: those of an idle
    /// pool do, and had nothing to do with the requests.
    pub fn since(&self, earlier: &Self) -> Used {
        let spent = |(id, now): (&String, &Duration)| {
            now.saturating_sub(earlier.threads.get(id).copied().unwrap_or_default())
        };
        let user = f64::from(self.user_ticks.saturating_sub(earlier.user_ticks));
        let system = f64::from(self.system_ticks.saturating_sub(earlier.system_ticks));
        Used {
            total: self.threads.iter().map(spent).sum(),
            user_share: if user + system > 0.0 { user / (user + system) } else { 0.0 },
        }
    }
}

/// User and system time from the line of `/proc/<pid>/stat`, whose second field may hold spaces.
fn ticks(stat: &str) -> Option<(u32, u32)> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_a_name_with_spaces_and_brackets() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 31 41 0 0 20";
        assert_eq!(ticks(stat), Some((31, 41)));
        assert_eq!(ticks("7 a S 1"), None);
    }

    #[test]
    fn a_busy_process_has_used_more_than_before() {
        let before = Reading::of(std::process::id()).unwrap();
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(100) {}
        let used = Reading::of(std::process::id()).unwrap().since(&before);
        assert!(used.total > Duration::from_millis(5), "{used:?}");
        assert!((0.0..=1.0).contains(&used.user_share), "{used:?}");
    }
}
