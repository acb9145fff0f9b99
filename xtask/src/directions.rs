//! Who may depend on whom. The order of the house is core, drivers, server, tests: each may
//! depend on those before it, and never the other way round.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::check::Verdict;
use crate::{process, workspace};

const CORE: &str = "keyward-core";
const SERVER: &str = "keyward-server";
const TESTS: &str = "keyward-tests";
/// What the tests need and what needs nobody.
const TEST_FUZZ: &str = "keyward-test-fuzz";
const TEST_POSTGRES: &str = "keyward-test-postgres";
const TEST_MODEL: &str = "keyward-test-model";
/// What compiles files of the core a second time.
const TEST_INTERLEAVING: &str = "keyward-test-interleaving";
const XTASK: &str = "xtask";

/// What would tie the domain to a transport, a runtime or a database.
const NOT_IN_CORE: [&str; 8] =
    ["axum", "hyper", "hyper-util", "reqwest", "rocksdb", "sqlx", "tokio", "warp"];

/// What would tie a driver to a transport.
const NOT_IN_A_DRIVER: [&str; 5] = ["axum", "hyper", "hyper-util", "reqwest", "warp"];

/// Holds the manifests of the workspace against the order of the house.
pub fn check() -> Result<Verdict> {
    let mut cargo = workspace::cargo();
    cargo.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let (end, output) = process::output(&mut cargo, None)?;
    if !end.is_success() {
        bail!("cargo metadata failed:\n{output}");
    }
    let metadata = output.lines().find(|line| line.starts_with('{')).unwrap_or_default();
    let packages = packages(&serde_json::from_str(metadata).context("cargo metadata is no JSON")?);
    let faults: Vec<String> =
        packages.iter().flat_map(|package| faults(package, &packages)).collect();
    Ok(if faults.is_empty() {
        Verdict::Good(String::new())
    } else {
        Verdict::Bad(faults.join("\n"))
    })
}

/// A package of the workspace and what its manifest names.
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    /// Whether only the package's own tests use it.
    for_tests: bool,
}

fn packages(metadata: &Value) -> Vec<Package> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    list(&metadata["packages"])
        .iter()
        .map(|package| Package {
            name: name(package),
            dependencies: list(&package["dependencies"])
                .iter()
                .map(|dependency| Dependency {
                    name: name(dependency),
                    for_tests: dependency["kind"] == "dev",
                })
                .collect(),
        })
        .collect()
}

/// A driver is what is neither of the others.
fn is_driver(name: &str) -> bool {
    let others =
        [CORE, SERVER, TESTS, TEST_FUZZ, TEST_POSTGRES, TEST_MODEL, TEST_INTERLEAVING, XTASK];
    !others.contains(&name)
}

/// Which of the workspace's packages this one may depend on.
fn may_depend(package: &str, on: &str) -> bool {
    match package {
        CORE | TEST_FUZZ | TEST_POSTGRES | TEST_MODEL | XTASK => false,
        SERVER => on == CORE || is_driver(on),
        TESTS => on != XTASK,
        // A driver, or what tests the core from within.
        _ => on == CORE,
    }
}

fn faults(package: &Package, all: &[Package]) -> Vec<String> {
    let foreign: &[&str] = match package.name.as_str() {
        CORE => &NOT_IN_CORE,
        name if is_driver(name) => &NOT_IN_A_DRIVER,
        _ => &[],
    };
    package
        .dependencies
        .iter()
        .filter(|dependency| {
            let within = all.iter().any(|other| other.name == dependency.name);
            // Whoever reads what others wrote may be given something else.
            let fuzzed = dependency.for_tests && dependency.name == TEST_FUZZ;
            let wrong_way = within && !fuzzed && !may_depend(&package.name, &dependency.name);
            wrong_way || (!dependency.for_tests && foreign.contains(&dependency.name.as_str()))
        })
        .map(|dependency| format!("{} must not depend on {}", package.name, dependency.name))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The faults of a house in which one package has one dependency too many.
    fn faults_of(name: &str, on: &str, kind: Option<&str>) -> Vec<String> {
        let drivers = ["keyward-rocksdb", "keyward-postgres"];
        let names =
            [CORE, SERVER, TESTS, TEST_FUZZ, TEST_POSTGRES, TEST_MODEL, TEST_INTERLEAVING, XTASK];
        let house: Vec<Value> = drivers
            .iter()
            .chain(&names)
            .map(|&package| {
                let extra = json!([{ "name": on, "kind": kind }]);
                json!({ "name": package, "dependencies": if package == name { extra } else { json!([]) } })
            })
            .collect();
        let packages = packages(&json!({ "packages": house }));
        packages.iter().flat_map(|package| faults(package, &packages)).collect()
    }

    #[test]
    fn the_order_of_the_house_is_kept() {
        for (name, on) in [
            ("keyward-rocksdb", CORE),
            ("keyward-rocksdb", "rocksdb"),
            (SERVER, CORE),
            (SERVER, "keyward-rocksdb"),
            (SERVER, "warp"),
            (TESTS, TEST_POSTGRES),
            (TESTS, SERVER),
            (TEST_INTERLEAVING, CORE),
            (XTASK, "anyhow"),
        ] {
            assert!(faults_of(name, on, None).is_empty(), "{name} on {on}");
        }
    }

    #[test]
    fn the_wrong_way_is_a_fault() {
        for (name, on) in [
            (CORE, "keyward-rocksdb"),
            (CORE, "tokio"),
            ("keyward-rocksdb", "keyward-postgres"),
            ("keyward-rocksdb", SERVER),
            ("keyward-rocksdb", "warp"),
            (SERVER, TESTS),
            (SERVER, TEST_POSTGRES),
            (TEST_POSTGRES, "keyward-postgres"),
            (TEST_MODEL, CORE),
            (TEST_INTERLEAVING, "keyward-postgres"),
            (TESTS, XTASK),
            (XTASK, CORE),
        ] {
            assert_eq!(faults_of(name, on, None), [format!("{name} must not depend on {on}")]);
        }
    }

    #[test]
    fn tests_alone_may_use_what_is_for_fuzzing() {
        for package in [CORE, "keyward-rocksdb", SERVER] {
            assert!(faults_of(package, TEST_FUZZ, Some("dev")).is_empty());
            assert_eq!(faults_of(package, TEST_FUZZ, None).len(), 1);
        }
        assert_eq!(faults_of(TEST_FUZZ, CORE, Some("dev")).len(), 1);
    }

    #[test]
    fn tests_of_the_core_may_use_a_runtime_but_no_driver() {
        assert!(faults_of(CORE, "tokio", Some("dev")).is_empty());
        assert_eq!(faults_of(CORE, "keyward-rocksdb", Some("dev")).len(), 1);
    }
}
