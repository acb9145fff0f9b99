//! Running cargo, and telling how far it is while it says nothing: `RocksDB`'s C++ takes longer
//! than all the rest, and cargo is silent about it.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::process::{self, End, Event, OnSignal};
use crate::tell::{self, Live, spoken};
use crate::workspace::{self, entries};

/// What the C++ of `RocksDB` was measured to take, in minutes of one core: 22 minutes on two.
const CPP_MINUTES: usize = 44;

/// Builds the server. It is the workspace that is built and not the package alone: its features are
/// those of all packages together, as for the tests, and `RocksDB`'s bindings, which would otherwise
/// come to be built with other features of theirs, are compiled once for both.
pub const SERVER: [&str; 5] = ["build", "--release", "--workspace", "--bin", "keyward"];

/// Says how long the C++ of `RocksDB` will take, where it is not built yet.
pub fn announce() {
    if archives().next().is_some() {
        return;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let minutes = (CPP_MINUTES / cores).max(3);
    tell::note(format_args!(
        "RocksDB's C++ is not built yet. It is compiled once and then kept: about {minutes} \
         minutes on {cores} cores (22 were measured on two idle ones)."
    ));
}

/// Runs cargo with its messages shown as they come.
///
/// # Errors
///
/// When cargo fails, which it has then explained itself.
pub fn shown(arguments: &[&str]) -> Result<()> {
    messages(arguments).map(drop)
}

/// As [`shown`], and returns what cargo told in JSON, if the arguments ask for that.
pub fn messages(arguments: &[&str]) -> Result<Vec<Value>> {
    messages_of(workspace::cargo().args(arguments))
}

/// As [`messages`], for a cargo that is ready to be run.
pub fn messages_of(cargo: &mut Command) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    let colour = if std::io::stderr().is_terminal() { "always" } else { "auto" };
    cargo.env("CARGO_TERM_COLOR", colour);
    let end = with_progress(cargo, "building", &mut |live, event| {
        match event {
            Event::Out(line) => {
                found.push(serde_json::from_str(line).context("cargo said something odd")?);
            }
            Event::Err(line) => live.print(line),
            Event::Quiet => {}
        }
        Ok(())
    })?;
    if !end.is_success() {
        let asked = cargo.get_args().next().unwrap_or_default();
        bail!("cargo {} failed", asked.display());
    }
    Ok(found)
}

/// Runs cargo in silence and returns what it wrote.
pub fn kept(cargo: &mut Command, doing: &str) -> Result<(End, String)> {
    let mut text = String::new();
    let end = with_progress(cargo, doing, &mut |_, event| {
        if let Event::Out(line) | Event::Err(line) = event {
            text.push_str(line);
            text.push('\n');
        }
        Ok(())
    })?;
    Ok((end, text))
}

/// Runs cargo under a live line that tells the time, and while `RocksDB` is being compiled, how
/// much of it is done. Cargo's own bar would be in its way.
fn with_progress(
    cargo: &mut Command,
    doing: &str,
    report: &mut dyn FnMut(&mut Live, Event<'_>) -> Result<()>,
) -> Result<End> {
    cargo.env("CARGO_TERM_PROGRESS_WHEN", "never").stdout(Stdio::piped()).stderr(Stdio::piped());
    let begun = Instant::now();
    let mut live = Live::new();
    process::watch(cargo, None, OnSignal::Kill, &mut |event| {
        report(&mut live, event)?;
        let elapsed = spoken(begun.elapsed());
        live.show(&match rocksdb_progress() {
            Some(progress) => format!("  {doing}, {elapsed}; RocksDB's C++: {progress}"),
            None => format!("  {doing}, {elapsed}"),
        });
        Ok(())
    })
}

/// How much of `RocksDB` is compiled, while it is being compiled.
fn rocksdb_progress() -> Option<String> {
    let objects = out_directories()
        .filter(|out| !out.join("librocksdb.a").is_file())
        .map(|out| entries(&out).iter().filter(|file| has_extension(file, "o")).count())
        .max()?;
    if objects == 0 {
        return None;
    }
    Some(match rocksdb_sources() {
        Some(total) if total >= objects => format!("{objects} of {total} files"),
        _ => format!("{objects} files"),
    })
}

/// How many files there are to compile. The sources are not there before cargo has fetched them.
fn rocksdb_sources() -> Option<usize> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")))?;
    let version = locked_version("librocksdb-sys")?;
    entries(&home.join("registry/src")).iter().find_map(|registry| {
        let list = registry.join(format!("librocksdb-sys-{version}/rocksdb_lib_sources.txt"));
        Some(std::fs::read_to_string(list).ok()?.lines().count())
    })
}

/// The version of a package in `Cargo.lock`.
fn locked_version(package: &str) -> Option<String> {
    let lock = std::fs::read_to_string(workspace::root().join("Cargo.lock")).ok()?;
    let (_, rest) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    Some(rest.split_once('"')?.0.to_owned())
}

fn archives() -> impl Iterator<Item = PathBuf> {
    out_directories().map(|out| out.join("librocksdb.a")).filter(|archive| archive.is_file())
}

/// Where cargo lets the build script of `RocksDB`'s bindings compile.
fn out_directories() -> impl Iterator<Item = PathBuf> {
    entries(&workspace::target().join("release/build"))
        .into_iter()
        .filter(|build| {
            build
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("librocksdb-sys-"))
        })
        .map(|build| build.join("out"))
        .filter(|out| out.is_dir())
}

/// Whether a file's name ends in this extension.
pub fn has_extension(file: &Path, extension: &str) -> bool {
    file.extension().is_some_and(|found| found == extension)
}
