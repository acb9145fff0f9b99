//! Where a run took place, for whoever reads its figures later.

use std::process::Command;

/// One line: processor, cores, kernel, compiler, commit. What cannot be found out is left out.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let parts = [
        processor(),
        Some(format!("{cores} cores")),
        std::fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|it| format!("Linux {it}")),
        said_by("rustc", &["--version"]),
        said_by("git", &["describe", "--always", "--dirty"]).map(|it| format!("commit {it}")),
    ];
    let known: Vec<String> = parts.into_iter().flatten().map(|it| it.trim().to_owned()).collect();
    known.join(" · ")
}

fn processor() -> Option<String> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.to_owned())
}

/// What a program writes to its standard output.
pub fn said_by(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(said)
}
