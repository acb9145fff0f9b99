//! The server as the previous commit has it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::{compile, process, workspace};

/// How long git may take for an answer, which it may have to fetch.
const LIMIT: Duration = Duration::from_secs(30);

/// Builds the server of this commit, else of the newest one before HEAD, and returns where its
/// binary is. Dependencies are shared with the current build.
pub fn build(commit: Option<&str>) -> Result<PathBuf> {
    let commit = find(commit)?;
    let place = workspace::target().join("previous");
    let source = place.join("source");
    check_out(&commit, &source)?;
    let mut cargo = workspace::cargo();
    cargo
        .args(["build", "--release", "--locked", "--workspace", "--bin", "keyward"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(&source)
        .env("CARGO_TARGET_DIR", workspace::target())
        // Cargo tells the crates of two checkouts apart by nothing else, and would compile each of
        // them anew whenever the other was compiled. What is run is the compiler as ever.
        .env("RUSTC_WORKSPACE_WRAPPER", "env");
    let messages = compile::messages_of(&mut cargo)?;
    let binary = messages.iter().find_map(|message| message["executable"].as_str());
    let binary = binary.context("the previous commit has no server")?;
    // The next build puts the current one in its place.
    let kept = place.join("keyward");
    std::fs::copy(binary, &kept).with_context(|| format!("{binary} cannot be kept"))?;
    Ok(kept)
}

fn find(commit: Option<&str>) -> Result<String> {
    let name = commit.unwrap_or("HEAD^");
    if let Some(commit) = commit_called(name)? {
        return Ok(commit);
    }
    // A clone of the newest commit alone has nothing before it, until that is asked for.
    if asked_git(&["rev-parse", "--is-shallow-repository"])?.as_deref() == Some("true") {
        asked_git(&["fetch", "--quiet", "--deepen", "1"])?;
    }
    commit_called(name)?.with_context(|| {
        format!(
            "there is no commit {name} to upgrade from; a clone without history gets one with \
             `git fetch --deepen 1`"
        )
    })
}

fn commit_called(name: &str) -> Result<Option<String>> {
    let name = format!("{name}^{{commit}}");
    asked_git(&["rev-parse", "--verify", "--quiet", "--end-of-options", &name])
}

/// The last line of what git says, if it can say something.
fn asked_git(arguments: &[&str]) -> Result<Option<String>> {
    let mut git = workspace::command("git");
    let (end, said) = process::output(git.args(arguments), Some(LIMIT))?;
    Ok(said.lines().last().filter(|_| end.is_success()).map(str::to_owned))
}

/// Has the files of that commit in a directory, beside which git remembers what it put there. Files
/// that are as they should be stay untouched, so that they are not compiled again; no repository is
/// kept there, which might outlive the one that its objects are in.
fn check_out(commit: &str, source: &Path) -> Result<()> {
    std::fs::create_dir_all(source)
        .with_context(|| format!("{} cannot be created", source.display()))?;
    let mut read = workspace::command("git");
    read.arg("--work-tree").arg(source).args(["read-tree", "--reset", "-u", commit]);
    git(read.env("GIT_INDEX_FILE", source.with_extension("index")))
}

fn git(command: &mut Command) -> Result<()> {
    let (end, said) = process::output(command, None)?;
    if !end.is_success() {
        bail!("git cannot check out the previous commit: {}", said.trim());
    }
    Ok(())
}
