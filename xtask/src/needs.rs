//! What has to be on the machine besides Rust, found out before a compiler or a test stumbles
//! over it, and installed where that is allowed.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{libclang, tell, workspace};

/// Something that does not come with Rust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// `RocksDB` is written in C++.
    CppCompiler,
    /// The bindings to `RocksDB` are generated with it.
    Libclang,
    /// The gateway tests put it in front of the server.
    Nginx,
    /// So they do with this one.
    Caddy,
    /// Its programs, where the tests are to have a cluster made by them.
    Postgres,
    /// It counts instructions.
    Valgrind,
}

/// What every build of the workspace needs.
pub const BUILD: [Need; 2] = [Need::CppCompiler, Need::Libclang];

impl Need {
    fn name(self) -> &'static str {
        match self {
            Self::CppCompiler => "a C++ compiler (c++)",
            Self::Libclang => "libclang with its headers",
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::Postgres => "the programs of Postgres (initdb, postgres)",
            Self::Valgrind => "valgrind",
        }
    }

    fn is_met(self) -> bool {
        match self {
            Self::CppCompiler => {
                std::env::var_os("CXX").is_some() || workspace::find_program("c++").is_some()
            }
            Self::Libclang => libclang::is_there(),
            Self::Nginx => workspace::find_program("nginx").is_some(),
            Self::Caddy => workspace::find_program("caddy").is_some(),
            Self::Postgres => {
                // Debian keeps them away from the `PATH`.
                workspace::find_program("initdb").is_some()
                    || workspace::entries(Path::new("/usr/lib/postgresql"))
                        .iter()
                        .any(|version| version.join("bin/initdb").is_file())
            }
            Self::Valgrind => workspace::find_program("valgrind").is_some(),
        }
    }
}

/// A package manager, and the packages in which it has what is needed.
struct Manager {
    program: &'static str,
    install: &'static str,
    packages: [(Need, &'static str); 6],
}

const fn manager(
    program: &'static str,
    install: &'static str,
    [cpp_compiler, libclang, nginx, caddy, postgres, valgrind]: [&'static str; 6],
) -> Manager {
    let packages = [
        (Need::CppCompiler, cpp_compiler),
        (Need::Libclang, libclang),
        (Need::Nginx, nginx),
        (Need::Caddy, caddy),
        (Need::Postgres, postgres),
        (Need::Valgrind, valgrind),
    ];
    Manager { program, install, packages }
}

const MANAGERS: [Manager; 6] = [
    manager(
        "apt-get",
        "apt-get install",
        ["g++", "libclang-dev", "nginx-light", "caddy", "postgresql", "valgrind"],
    ),
    manager(
        "dnf",
        "dnf install",
        ["gcc-c++", "clang-devel", "nginx", "caddy", "postgresql-server", "valgrind"],
    ),
    manager(
        "zypper",
        "zypper install",
        ["gcc-c++", "clang-devel", "nginx", "caddy", "postgresql-server", "valgrind"],
    ),
    manager("pacman", "pacman -S", ["gcc", "clang", "nginx", "caddy", "postgresql", "valgrind"]),
    manager("apk", "apk add", ["g++", "clang-dev", "nginx", "caddy", "postgresql", "valgrind"]),
    manager("brew", "brew install", ["llvm", "llvm", "nginx", "caddy", "postgresql", "valgrind"]),
];

impl Manager {
    fn packages_for(&self, needs: &[Need]) -> Vec<&'static str> {
        let mut packages: Vec<_> = self
            .packages
            .iter()
            .filter(|(need, _)| needs.contains(need))
            .map(|&(_, package)| package)
            .collect();
        packages.dedup();
        packages
    }
}

/// Sees to it that these are there: installs with apt what is missing, as root or with a `sudo`
/// that asks for no password.
///
/// # Errors
///
/// One line that says what is missing and what installs it on this system.
pub fn require(needs: &[Need]) -> Result<()> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    let Some(manager) =
        MANAGERS.iter().find(|manager| workspace::find_program(manager.program).is_some())
    else {
        bail!("missing: {}; install it and start again", names(&missing));
    };
    let packages = manager.packages_for(&missing);
    if manager.program == "apt-get"
        && let Some(administrator) = administrator()
    {
        tell::note(format_args!(
            "Missing: {}. Installing {} with apt.",
            names(&missing),
            packages.join(" ")
        ));
        apt_install(&administrator, &packages)?;
    }
    let missing = self::missing(needs);
    if !missing.is_empty() {
        let (packages, install) = (manager.packages_for(&missing).join(" "), manager.install);
        bail!("missing: {}; install with: {install} {packages}", names(&missing));
    }
    Ok(())
}

fn missing(needs: &[Need]) -> Vec<Need> {
    needs.iter().copied().filter(|need| !need.is_met()).collect()
}

fn names(needs: &[Need]) -> String {
    needs.iter().map(|need| need.name()).collect::<Vec<_>>().join(", ")
}

/// How to become the administrator without being asked for a password: the words to put before a
/// command. `None` where that cannot be done.
fn administrator() -> Option<Vec<&'static str>> {
    let id = Command::new("id").arg("-u").output().ok()?;
    if id.stdout.trim_ascii() == b"0" {
        return Some(Vec::new());
    }
    let sudo = Command::new("sudo")
        .args(["-n", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    sudo.is_ok_and(|status| status.success()).then(|| vec!["sudo", "-n"])
}

/// The index is fetched only where the installation fails without: it takes its time, and a
/// machine may know its packages already. The tests want programs and no services, so
/// `policy-rc.d` keeps Debian from starting what is installed, and nothing is left to start with
/// the machine. The unit is called like the package, but for the variant.
const APT_SCRIPT: &str = r#"
set -u
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
install() {
    apt-get install -q -y --no-install-recommends \
        -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@"
}
install "$@" || { apt-get update -q && install "$@"; } || exit 1
for package; do
    systemctl disable "${package%-light}" 2>/dev/null
done
exit 0
"#;

/// Everything that apt writes goes to standard error: standard output belongs to the command.
fn apt_install(administrator: &[&str], packages: &[&str]) -> Result<()> {
    let words = [administrator, &["sh", "-c", APT_SCRIPT, "sh"], packages].concat();
    let status = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .context("cannot run apt")?;
    if !status.success() {
        bail!("apt could not install {}", packages.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_serves_two_needs_is_named_once() {
        let brew = MANAGERS.iter().find(|manager| manager.program == "brew").unwrap();
        assert_eq!(brew.packages_for(&BUILD), ["llvm"]);
    }

    #[test]
    fn only_what_is_missing_is_named() {
        assert_eq!(MANAGERS[0].packages_for(&[Need::Libclang]), ["libclang-dev"]);
    }
}
