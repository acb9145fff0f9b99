//! Where a run took place, for whoever reads its figures later.

use std::process::Command;

use keyward_core::clock::{Clock as _, SystemClock};
use serde::Serialize;

/// What is known of machine, build and day. What cannot be found out is left out.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub processor: Option<String>,
    pub cores: usize,
    pub linux: Option<String>,
    pub keyward: &'static str,
    pub rustc: Option<String>,
    pub commit: Option<String>,
    pub date: String,
}

impl Machine {
    /// This one, now.
    pub fn here() -> Self {
        let linux = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        Self {
            processor: processor(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            linux: linux.map(|it| it.trim().to_owned()),
            // Of the whole workspace, so that it is the server's too.
            keyward: env!("CARGO_PKG_VERSION"),
            rustc: said_by("rustc", &["--version"]),
            commit: said_by("git", &["describe", "--always", "--dirty"]),
            date: SystemClock.now().to_string(),
        }
    }

    /// What is known, one fact after the other.
    pub fn facts(&self) -> Vec<String> {
        let facts = [
            self.processor.clone(),
            Some(format!("{} cores", self.cores)),
            self.linux.as_ref().map(|it| format!("Linux {it}")),
            Some(format!("keyward {}", self.keyward)),
            self.commit.as_ref().map(|it| format!("commit {it}")),
            self.rustc.clone(),
            Some(self.date.clone()),
        ];
        facts.into_iter().flatten().collect()
    }
}

fn processor() -> Option<String> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// What a program writes to its standard output.
pub fn said_by(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(said)
}
