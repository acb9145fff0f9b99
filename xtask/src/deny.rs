//! cargo-deny: what may be depended on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::check::Verdict;
use crate::process::End;
use crate::{compile, process, tell, workspace};

/// The version that is installed where there is none.
const VERSION: &str = "0.20.2";

/// How long looking for advisories may take, with the fetching of their database.
const LIMIT: Duration = Duration::from_mins(2);

/// Licences, bans and sources.
pub fn licences() -> Result<Verdict> {
    match program()? {
        Ok(program) => run(&program, &["check", "licenses", "bans", "sources"]),
        Err(reason) => Ok(Verdict::Bad(reason)),
    }
}

/// Known vulnerabilities. Their database is a git repository elsewhere; where it cannot be reached,
/// a copy that was fetched before will do, and without one nothing is claimed.
pub fn advisories() -> Result<Verdict> {
    let program = match program()? {
        Ok(program) => program,
        Err(reason) => return Ok(Verdict::NotChecked(reason)),
    };
    let fresh = run(&program, &["check", "advisories"])?;
    if is_about_the_code(&fresh) {
        return Ok(fresh);
    }
    let old = run(&program, &["--offline", "check", "advisories"])?;
    Ok(match old {
        Verdict::Good(_) => {
            Verdict::Good("by an older copy of the database, for it could not be fetched".into())
        }
        old if is_about_the_code(&old) => old,
        _ => Verdict::NotChecked(
            "the database of advisories could not be fetched, and there is no older copy".into(),
        ),
    })
}

/// What cargo-deny finds in the code has a code of its own, as in `error[vulnerability]`; what
/// keeps it from looking has none.
fn is_about_the_code(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Good(_) => true,
        Verdict::Bad(text) => text.contains("error["),
        Verdict::NotChecked(_) => false,
    }
}

/// Only errors are shown: the warnings, of crates that are there in two versions, fill pages.
fn run(program: &Path, arguments: &[&str]) -> Result<Verdict> {
    let mut deny = workspace::command(program);
    deny.args(["--log-level", "error", "--color", "never"]).args(arguments);
    Ok(Verdict::of(process::output(&mut deny, Some(LIMIT))?))
}

/// cargo-deny, installed if need be; what cargo said where that failed. It goes beside what cargo
/// builds, so that whoever keeps the one keeps the other.
fn program() -> Result<Result<PathBuf, String>> {
    let tools = workspace::target().join("tools");
    let own = tools.join("bin/cargo-deny");
    if own.is_file() {
        return Ok(Ok(own));
    }
    if let Some(program) = workspace::find_program("cargo-deny") {
        return Ok(Ok(program));
    }
    tell::note(format_args!(
        "cargo-deny {VERSION} is not there yet. It is installed once: about two minutes."
    ));
    let mut cargo = workspace::cargo();
    cargo
        .args(["install", "cargo-deny", "--locked", "--version", VERSION, "--root"])
        .arg(&tools)
        // Unoptimised it is built in half the time, and it has little to do.
        .arg("--debug")
        // Its own build goes to a directory that cargo removes again.
        .env_remove("CARGO_TARGET_DIR");
    let (end, text) = compile::kept(&mut cargo, "installing cargo-deny")?;
    Ok(match end {
        End::Exited(status) if status.success() => Ok(own),
        _ => Err(format!("cargo-deny could not be installed:\n{text}")),
    })
}
