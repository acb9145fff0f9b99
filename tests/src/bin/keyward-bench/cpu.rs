//! CPU time of other processes.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;

/// The processes whose time is measured.
#[derive(Debug, Clone)]
pub struct Processes {
    /// Those under test.
    pub own: Vec<u32>,
    /// The first process of the Postgres that it uses, where there is one and its processes can be
    /// seen from here. Its children are counted with it.
    pub postmaster: Option<u32>,
}

/// What the processes had used at one moment; nothing by default.
#[derive(Debug, Default)]
pub struct Reading {
    own: Clocks,
    postgres: Option<Clocks>,
}

/// What the processes used between two moments.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    /// By the processes under test.
    pub own: Duration,
    /// The part of it spent outside the kernel, 0 to 1. The kernel samples it more coarsely than
    /// the total, so it is good for a split, not for a comparison.
    pub user_share: f64,
    /// By Postgres.
    pub postgres: Option<Duration>,
}

impl Processes {
    /// Reads their clocks.
    pub fn read(&self) -> anyhow::Result<Reading> {
        let mut own = Clocks::default();
        for pid in &self.own {
            own.add(*pid).context("reading the CPU time of a process, which may have ended")?;
        }
        let postgres = self.postmaster.map(Clocks::of_family).transpose()?;
        Ok(Reading { own, postgres })
    }
}

impl Reading {
    /// What was used since `earlier`.
    pub fn since(&self, earlier: &Self) -> Used {
        let user = f64::from(self.own.user_ticks.saturating_sub(earlier.own.user_ticks));
        let system = f64::from(self.own.system_ticks.saturating_sub(earlier.own.system_ticks));
        let both = self.postgres.as_ref().zip(earlier.postgres.as_ref());
        Used {
            own: self.own.since(&earlier.own),
            user_share: if user + system > 0.0 { user / (user + system) } else { 0.0 },
            postgres: both.map(|(now, earlier)| now.since(earlier)),
        }
    }
}

/// The clocks of one process, or of several.
#[derive(Debug, Default)]
struct Clocks {
    /// Time on a CPU of each thread, exact to a scheduler tick.
    threads: BTreeMap<String, Duration>,
    user_ticks: u32,
    system_ticks: u32,
}

impl Clocks {
    /// Those of the process `parent` and of its children.
    fn of_family(parent: u32) -> anyhow::Result<Self> {
        let mut clocks = Self::default();
        clocks.add(parent).context("reading the CPU time of Postgres, which may have ended")?;
        for process in std::fs::read_dir("/proc")? {
            let Some(pid) = process?.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // Processes come and go, and one that has gone has no more time to tell.
            if stat(pid).is_ok_and(|it| it.parent == parent) {
                let _ = clocks.add(pid);
            }
        }
        Ok(clocks)
    }

    fn add(&mut self, pid: u32) -> anyhow::Result<()> {
        let stat = stat(pid)?;
        self.user_ticks += stat.user_ticks;
        self.system_ticks += stat.system_ticks;
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread = thread?;
            // A thread that ends meanwhile has no more time to tell.
            let Ok(line) = std::fs::read_to_string(thread.path().join("schedstat")) else {
                continue;
            };
            let nanos = line.split(' ').next().unwrap_or_default().parse()?;
            let id = thread.file_name().to_string_lossy().into_owned();
            self.threads.insert(id, Duration::from_nanos(nanos));
        }
        Ok(())
    }

    /// Time on a CPU since `earlier`. A thread that ended in between is left out: those of an idle
    /// pool do, and had nothing to do with the requests.
    fn since(&self, earlier: &Self) -> Duration {
        let spent = |(id, now): (&String, &Duration)| {
            now.saturating_sub(earlier.threads.get(id).copied().unwrap_or_default())
        };
        self.threads.iter().map(spent).sum()
    }
}

/// The process that started the process `pid`, where both are called `name`.
pub fn parent_called(name: &str, pid: u32) -> Option<u32> {
    let called = |pid: u32| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        comm.is_ok_and(|comm| comm.trim_end() == name)
    };
    let parent = stat(pid).ok()?.parent;
    (called(pid) && called(parent)).then_some(parent)
}

/// Some of what `/proc/<pid>/stat` says.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    user_ticks: u32,
    system_ticks: u32,
}

fn stat(pid: u32) -> anyhow::Result<Stat> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    Stat::parse(&line).context("reading /proc/<pid>/stat")
}

impl Stat {
    fn parse(line: &str) -> Option<Self> {
        // The second field may hold spaces and brackets.
        let (_, fields) = line.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let number = |at: usize| fields.get(at)?.parse().ok();
        Some(Self { parent: number(1)?, user_ticks: number(11)?, system_ticks: number(12)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_a_name_with_spaces_and_brackets() {
        let line = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 31 41 0 0 20";
        assert_eq!(Stat::parse(line), Some(Stat { parent: 1, user_ticks: 31, system_ticks: 41 }));
        assert_eq!(Stat::parse("7 a S 1"), None);
    }

    #[test]
    fn a_busy_process_has_used_more_than_before() {
        let us = Processes { own: vec![std::process::id()], postmaster: Some(std::process::id()) };
        let before = us.read().unwrap();
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(100) {}
        let used = us.read().unwrap().since(&before);
        assert!(used.own > Duration::from_millis(5), "{used:?}");
        assert!(used.postgres.unwrap() > Duration::from_millis(5), "{used:?}");
        assert!((0.0..=1.0).contains(&used.user_share), "{used:?}");
    }
}
