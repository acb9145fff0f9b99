//! Drivers × suites: what there is to test, and what of it was asked for.

use anyhow::{Context as _, Result, bail};

use crate::needs::Need;
use crate::suite::{self, Executable, Executables};

/// The storage drivers.
pub const DRIVERS: [&str; 3] = ["memory", "rocksdb", POSTGRES];
pub const POSTGRES: &str = "postgres";

/// Those that keep what they have when the process dies.
const DURABLE: [&str; 2] = ["rocksdb", POSTGRES];

/// The suite in which the tests of all drivers stand side by side, each in a module with the
/// driver's name. Every other suite is told by the environment which driver it is to use.
pub const CONFORMANCE: &str = "conformance";

/// The suite that has a binary of the previous commit.
pub const UPGRADE: &str = "upgrade";

/// The names of the suites that are not files of `tests/tests`.
pub const UNIT: &str = "unit";
pub const DOC: &str = "doc";

/// What is to be known of a suite beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suite {
    name: &'static str,
    /// The drivers that it is run on; none, where it chooses for itself what it uses.
    drivers: &'static [&'static str],
    /// Whether it uses Postgres, though it may not be run on that driver.
    postgres: bool,
    /// What it needs beyond what the build does.
    needs: &'static [Need],
    /// Whether it is left out where it is not named, because it takes more than a checkout and Rust.
    only_when_named: bool,
    /// Whether what its tests print is shown though they pass, because the figures in it are the
    /// result: in full where the suite is named, else the lines that are not indented.
    shown: bool,
}

impl Suite {
    /// A suite that is run on every driver and needs nothing.
    const fn plain(name: &'static str) -> Self {
        Self {
            name,
            drivers: &DRIVERS,
            postgres: false,
            needs: &[],
            only_when_named: false,
            shown: false,
        }
    }
}

/// All suites that are not plain ones.
const SUITES: &[Suite] = &[
    Suite {
        drivers: &[POSTGRES],
        needs: &[Need::Postgres, Need::Nginx],
        shown: true,
        ..Suite::plain("cluster")
    },
    Suite { drivers: &[], only_when_named: true, ..Suite::plain("compose") },
    Suite { drivers: &DURABLE, ..Suite::plain("copy") },
    Suite { drivers: &DURABLE, ..Suite::plain("crash") },
    Suite { drivers: &[POSTGRES], needs: &[Need::Postgres], ..Suite::plain("faults") },
    Suite { needs: &[Need::Nginx, Need::Caddy], ..Suite::plain("gateway") },
    Suite { drivers: &[], shown: true, ..Suite::plain("interleaving") },
    Suite { drivers: &[], shown: true, ..Suite::plain("model") },
    Suite { drivers: &DURABLE, only_when_named: true, ..Suite::plain("schema") },
    Suite { drivers: &[], postgres: true, only_when_named: true, ..Suite::plain(UPGRADE) },
];

fn known(name: &str) -> Suite {
    let special = SUITES.iter().find(|suite| suite.name == name);
    special.copied().unwrap_or(Suite::plain(""))
}

/// What was asked for. An empty list means all.
#[derive(Debug, Default)]
pub struct Selection {
    drivers: Vec<String>,
    suites: Vec<String>,
    /// Where Postgres is to come from, as the program that provides it takes it.
    pub postgres: Vec<String>,
    /// The commit that [`UPGRADE`] upgrades from.
    pub previous: Option<String>,
    /// Whether suites that have a long form are run in it.
    pub long: bool,
}

impl Selection {
    /// Reads the command's arguments.
    pub fn parse(arguments: &[String]) -> Result<Self> {
        let mut selection = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--long" {
                selection.long = true;
                continue;
            }
            let (flag, joined) = argument
                .split_once('=')
                .map_or((argument.as_str(), None), |(flag, value)| (flag, Some(value.to_owned())));
            if !["--driver", "--suite", "--postgres", "--postgres-image", "--previous"]
                .contains(&flag)
            {
                bail!("{flag:?} is no flag; see `cargo xtask test --help`");
            }
            let value = joined.or_else(|| rest.next().cloned());
            let value = value.with_context(|| format!("{flag} needs a value"))?;
            match flag {
                "--driver" => selection.drivers.push(value),
                "--suite" => selection.suites.push(value),
                "--postgres" => selection.postgres.extend(["--from".into(), value]),
                "--postgres-image" => selection.postgres.extend(["--image".into(), value]),
                _ => selection.previous = Some(value),
            }
        }
        for name in &selection.drivers {
            if !DRIVERS.contains(&name.as_str()) {
                bail!("there is no driver {name:?}; there are {}", DRIVERS.join(", "));
            }
        }
        Ok(selection)
    }

    fn names(&self, suite: &str) -> bool {
        self.suites.iter().any(|name| name == suite)
    }

    /// Whether to run this suite on this driver. What belongs to no driver is run when none is
    /// named, and when it is named itself.
    pub fn wants(&self, driver: Option<&str>, suite: &str) -> bool {
        let driver_wanted = match driver {
            Some(driver) => {
                self.drivers.is_empty() || self.drivers.iter().any(|name| name == driver)
            }
            None => self.drivers.is_empty() || self.names(suite),
        };
        let suite_wanted = self.suites.is_empty() && !known(suite).only_when_named;
        driver_wanted && (suite_wanted || self.names(suite))
    }

    /// Whether the suite that needs a binary of the previous commit is wanted.
    pub fn wants_previous(&self) -> bool {
        self.names(UPGRADE)
    }

    /// Whether Postgres is to be a cluster of the programs that are installed here.
    pub fn wants_local_postgres(&self) -> bool {
        self.postgres.iter().any(|argument| argument == "local")
    }

    /// What there is to run, in the order of the table.
    pub fn jobs(&self, executables: &Executables) -> Result<Vec<Job>> {
        self.check_suites(executables)?;
        let mut jobs = Vec::new();
        if self.wants(None, UNIT) {
            jobs.push(Job::new(None, UNIT, executables.unit.clone()));
        }
        if let Some(conformance) = executables.suites.get(CONFORMANCE)
            && self.wants(None, CONFORMANCE)
        {
            jobs.push(Job::conformance_of_no_driver(conformance));
        }
        for (name, executable) in &executables.suites {
            if known(name).drivers.is_empty() && self.wants(None, name) {
                jobs.push(Job::new(None, name, vec![executable.clone()]));
            }
        }
        for driver in DRIVERS {
            for (name, executable) in &executables.suites {
                if known(name).drivers.contains(&driver) && self.wants(Some(driver), name) {
                    jobs.push(Job::new(Some(driver), name, vec![executable.clone()]));
                }
            }
        }
        if jobs.is_empty() && !self.wants(None, DOC) {
            bail!("no such suite is run on that driver");
        }
        for job in &mut jobs {
            job.in_full = self.names(&job.suite);
        }
        Ok(jobs)
    }

    /// The suites that are left out because they were not named, where nothing was.
    pub fn left_out(&self, executables: &Executables) -> Vec<String> {
        let names = executables.suites.keys().filter(|name| known(name).only_when_named);
        if self.suites.is_empty() { names.cloned().collect() } else { Vec::new() }
    }

    fn check_suites(&self, executables: &Executables) -> Result<()> {
        let known: Vec<&str> =
            [UNIT, DOC].into_iter().chain(executables.suites.keys().map(String::as_str)).collect();
        match self.suites.iter().find(|name| !known.contains(&name.as_str())) {
            Some(name) => bail!("there is no suite {name:?}; there are {}", known.join(", ")),
            None => Ok(()),
        }
    }
}

/// One row of the table that is still to be run.
#[derive(Debug)]
pub struct Job {
    pub driver: Option<&'static str>,
    pub suite: String,
    pub executables: Vec<Executable>,
    /// What the programs of tests are told.
    pub arguments: Vec<String>,
    /// Whether what passing tests print is shown whole, if it is shown.
    pub in_full: bool,
    pub may_be_empty: bool,
}

impl Job {
    fn new(driver: Option<&'static str>, suite: &str, executables: Vec<Executable>) -> Self {
        let arguments = match driver {
            Some(driver) if suite == CONFORMANCE => vec![format!("{driver}::")],
            _ if known(suite).shown => vec![suite::SHOW.to_owned()],
            _ => Vec::new(),
        };
        let suite = suite.to_owned();
        Self { driver, suite, executables, arguments, in_full: false, may_be_empty: false }
    }

    /// Tests in the conformance suite that stand in no driver's module: there need not be any,
    /// but none may be lost.
    fn conformance_of_no_driver(executable: &Executable) -> Self {
        let skips = DRIVERS.iter().flat_map(|driver| ["--skip".into(), format!("{driver}::")]);
        Self {
            arguments: skips.collect(),
            may_be_empty: true,
            ..Self::new(None, CONFORMANCE, vec![executable.clone()])
        }
    }

    /// How it is called in what is said of it.
    pub fn title(&self) -> String {
        self.driver.map_or_else(|| self.suite.clone(), |driver| format!("{driver} {}", self.suite))
    }

    /// Whether it uses Postgres.
    pub fn uses_postgres(&self) -> bool {
        self.driver == Some(POSTGRES) || known(&self.suite).postgres
    }

    /// What it needs beyond what the build does.
    pub fn needs(&self) -> &'static [Need] {
        known(&self.suite).needs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(arguments: &[&str]) -> Result<Selection> {
        let arguments: Vec<String> =
            arguments.iter().map(|&argument| argument.to_owned()).collect();
        Selection::parse(&arguments)
    }

    #[test]
    fn everything_is_run_when_nothing_is_named() {
        let all = selection(&[]).unwrap();
        assert!(all.wants(None, UNIT));
        assert!(all.wants(Some("memory"), "contract"));
    }

    #[test]
    fn a_named_driver_leaves_out_the_others_and_what_belongs_to_none() {
        let one = selection(&["--driver", "rocksdb"]).unwrap();
        assert!(one.wants(Some("rocksdb"), "contract"));
        assert!(!one.wants(Some("memory"), "contract"));
        assert!(!one.wants(None, UNIT));
    }

    #[test]
    fn a_suite_that_belongs_to_no_driver_is_run_when_it_is_named() {
        let unit = selection(&["--driver=rocksdb", "--suite=unit"]).unwrap();
        assert!(unit.wants(None, UNIT));
        assert!(!unit.wants(Some("rocksdb"), "contract"));
    }

    #[test]
    fn a_suite_that_is_run_only_when_it_is_named_is_told_of_otherwise() {
        let executables = Executables::with_suites(&["contract", UPGRADE]);
        let all = selection(&[]).unwrap();
        assert!(!all.wants(None, UPGRADE));
        assert_eq!(all.left_out(&executables), [UPGRADE]);
        let named = selection(&["--suite", UPGRADE]).unwrap();
        assert!(named.wants(None, UPGRADE));
        assert!(named.left_out(&executables).is_empty());
        let jobs = named.jobs(&executables).unwrap();
        assert!(jobs.iter().all(|job| job.driver.is_none() && job.uses_postgres()));
        assert_eq!(jobs.len(), 1);
    }

    #[test]
    fn a_suite_that_no_driver_has_part_in_is_run_once_and_shown() {
        let executables = Executables::with_suites(&["model"]);
        let jobs = selection(&[]).unwrap().jobs(&executables).unwrap();
        let [_unit, model] = jobs.as_slice() else { panic!("{jobs:?}") };
        assert_eq!(model.title(), "model");
        assert_eq!(model.arguments, [suite::SHOW]);
        assert!(!model.in_full);
        let named = selection(&["--suite=model"]).unwrap().jobs(&executables).unwrap();
        assert!(named.iter().all(|job| job.in_full));
    }

    #[test]
    fn a_suite_is_run_on_the_drivers_that_it_is_for() {
        let executables = Executables::with_suites(&["contract", "crash"]);
        let jobs = selection(&[]).unwrap().jobs(&executables).unwrap();
        let titles: Vec<String> = jobs.iter().map(Job::title).collect();
        assert_eq!(
            titles,
            [
                "unit",
                "memory contract",
                "rocksdb contract",
                "rocksdb crash",
                "postgres contract",
                "postgres crash"
            ]
        );
    }

    #[test]
    fn what_is_not_there_is_refused() {
        assert!(selection(&["--driver", "oracle"]).is_err());
        assert!(selection(&["--driver"]).is_err());
        assert!(selection(&["--verbose"]).is_err());
        let absent = selection(&["--suite", "absent"]).unwrap();
        assert!(absent.jobs(&Executables::default()).is_err());
    }

    #[test]
    fn the_long_form_is_asked_for_by_a_flag_without_a_value() {
        let long = selection(&["--long", "--suite", "cluster"]).unwrap();
        assert!(long.long && long.wants(Some(POSTGRES), "cluster"));
        assert!(!selection(&[]).unwrap().long);
    }

    #[test]
    fn where_postgres_comes_from_is_passed_on() {
        let told = selection(&["--postgres=local", "--postgres-image", "postgres:15"]).unwrap();
        assert_eq!(told.postgres, ["--from", "local", "--image", "postgres:15"]);
    }
}
