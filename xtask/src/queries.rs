//! `cargo xtask queries`: what the Postgres driver was compiled against.
//!
//! The driver's queries are checked by the compiler: with a database at hand against that, else
//! against the data that a database gave earlier, which is kept beside the driver. Here a database is
//! at hand, and what it says is written down or held against what is kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};

use crate::check::Verdict;
use crate::postgres::{self, Postgres};
use crate::{compile, needs, tell, workspace};

const HELP: &str = "\
Writes what the Postgres driver's queries are compiled against where there is no database:
crates/keyward-postgres/.sqlx. To be run after a query or a migration has changed, and committed.
`cargo xtask check` says when it was forgotten.

Usage: cargo xtask queries

Postgres comes from where `cargo xtask test` takes it.";

/// The driver.
const PACKAGE: &str = "keyward-postgres";

/// Runs the command.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    if crate::asks_for_help(arguments) {
        tell::say(HELP);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(argument) = arguments.first() {
        bail!("queries takes no arguments, and {argument:?} is one");
    }
    needs::require(&needs::BUILD)?;
    let fresh = match describe()? {
        Ok(fresh) => fresh,
        Err(said) => bail!("the queries do not fit the migrations:\n{said}"),
    };
    let kept = kept_in();
    std::fs::create_dir_all(&kept)?;
    for old in read(&kept)?.keys() {
        std::fs::remove_file(kept.join(old))?;
    }
    for (name, text) in &fresh {
        std::fs::write(kept.join(name), text)?;
    }
    tell::say(format_args!("{} queries are written to {}", fresh.len(), kept.display()));
    Ok(ExitCode::SUCCESS)
}

/// Whether what is kept is what a database says now.
pub fn check() -> Result<Verdict> {
    let fresh = match describe()? {
        Ok(fresh) => fresh,
        Err(said) => return Ok(Verdict::Bad(said)),
    };
    let faults = differences(&read(&kept_in())?, &fresh);
    Ok(if faults.is_empty() {
        Verdict::Good(String::new())
    } else {
        Verdict::Bad(format!("{}\n`cargo xtask queries` writes them anew", faults.join("\n")))
    })
}

/// Files by their names.
type Files = BTreeMap<String, String>;

fn differences(kept: &Files, fresh: &Files) -> Vec<String> {
    let missing = fresh.keys().filter(|name| !kept.contains_key(*name));
    let left = kept.keys().filter(|name| !fresh.contains_key(*name));
    let changed =
        fresh.iter().filter(|(name, text)| kept.get(*name).is_some_and(|old| old != *text));
    missing
        .map(|name| format!("{name} is not there"))
        .chain(left.map(|name| format!("{name} belongs to no query")))
        .chain(changed.map(|(name, _)| format!("{name} says what no longer holds")))
        .collect()
}

fn package() -> PathBuf {
    workspace::root().join("crates").join(PACKAGE)
}

fn kept_in() -> PathBuf {
    package().join(".sqlx")
}

fn read(directory: &Path) -> Result<Files> {
    let mut files = Files::new();
    for file in workspace::entries(directory) {
        if compile::has_extension(&file, "json")
            && let Some(name) = file.file_name()
        {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("{} cannot be read", file.display()))?;
            files.insert(name.to_string_lossy().into_owned(), text);
        }
    }
    Ok(files)
}

/// Has the driver's queries compiled against a database in which its migrations were run. Returns
/// what the database said of each, or what the compiler said where it refused.
fn describe() -> Result<Result<Files, String>> {
    compile::shown(&["build", "--release", "--workspace", "--bin", postgres::PROGRAM])?;
    let migrations = package().join("migrations").display().to_string();
    let database = Postgres::start(&["--migrations".into(), migrations])?;
    let described = workspace::target().join("queries");
    // It is not there the first time.
    let _ = std::fs::remove_dir_all(&described);
    std::fs::create_dir_all(&described)?;

    let mut cargo = workspace::cargo();
    cargo
        .args(["check", "--quiet", "--release", "--package", PACKAGE, "--lib"])
        .env("DATABASE_URL", database.url())
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", &described);
    let _touched = Touched::new(&package().join("src/lib.rs"))?;
    let (end, said) = compile::kept(&mut cargo, "compiling the queries")?;
    if !end.is_success() {
        return Ok(Err(said));
    }
    read(&described).map(Ok)
}

/// A file that looks as if it had just been changed, so that cargo compiles it again. Afterwards it
/// has the time that it had, and nothing else that was made of it is out of date.
struct Touched {
    file: File,
    before: SystemTime,
}

impl Touched {
    fn new(path: &Path) -> Result<Self> {
        let file = File::options().append(true).open(path)?;
        let before = file.metadata()?.modified()?;
        #[expect(clippy::disallowed_methods, reason = "cargo compares it with the system's time")]
        file.set_modified(SystemTime::now())?;
        Ok(Self { file, before })
    }
}

impl Drop for Touched {
    fn drop(&mut self) {
        // If it fails, more is compiled the next time than need be.
        let _ = self.file.set_modified(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)]) -> Files {
        files.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect()
    }

    #[test]
    fn whatever_differs_is_told() {
        let kept = files(&[("a", "1"), ("b", "2"), ("c", "3")]);
        assert!(differences(&kept, &kept).is_empty());
        let fresh = files(&[("b", "2"), ("c", "4"), ("d", "5")]);
        assert_eq!(
            differences(&kept, &fresh),
            ["d is not there", "a belongs to no query", "c says what no longer holds"]
        );
    }
}
