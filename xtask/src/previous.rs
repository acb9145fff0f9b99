//! The server as the previous commit has it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{compile, process, workspace};

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
    let mut git = workspace::command("git");
    git.args(["rev-parse", "--verify", "--quiet", "--end-of-options"])
        .arg(format!("{name}^{{commit}}"));
    let (end, said) = process::output(&mut git, None)?;
    match said.lines().last() {
        Some(commit) if end.is_success() => Ok(commit.to_owned()),
        _ => bail!(
            "there is no commit {name} to upgrade from; a clone without history gets one with \
             `git fetch --deepen 1`"
        ),
    }
}

/// Has a clone that borrows the objects of this repository at that commit. Files that are as they
/// should be stay untouched, so that they are not compiled again.
fn check_out(commit: &str, source: &Path) -> Result<()> {
    if !source.join(".git").is_dir() {
        let mut clone = workspace::command("git");
        clone.args(["clone", "--quiet", "--shared", "--no-checkout"]);
        git(clone.arg(workspace::root()).arg(source))?;
    }
    let mut checkout = workspace::command("git");
    checkout.arg("-C").arg(source).args(["checkout", "--quiet", "--force", "--detach", commit]);
    git(&mut checkout)
}

fn git(command: &mut Command) -> Result<()> {
    let (end, said) = process::output(command, None)?;
    if !end.is_success() {
        bail!("git cannot check out the previous commit: {}", said.trim());
    }
    Ok(())
}
