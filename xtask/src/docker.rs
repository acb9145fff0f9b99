//! `cargo xtask docker`: the image of one node, with the binary that is compiled here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::process::{self, OnSignal};
use crate::{compile, needs, tell, workspace};

const HELP: &str = "\
Builds the server here and the image of one node around it.

Usage: cargo xtask docker [--tag NAME]

  --tag <name>  what to call the image [default: keyward, as docker-compose.yml does]

The image is Debian 12, so the C library here must not be newer than its (2.36). On other systems
`docker build --tag keyward .` compiles in a container.";

/// Where Debian keeps the certificate authorities that it trusts.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

/// Runs the command.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    if crate::asks_for_help(arguments) {
        tell::say(HELP);
        return Ok(ExitCode::SUCCESS);
    }
    let tag = match arguments {
        [] => "keyward",
        [flag, tag] if flag == "--tag" => tag,
        _ => bail!("that is not understood; see `cargo xtask docker --help`"),
    };
    needs::require(&needs::BUILD)?;
    compile::announce();
    compile::shown(&compile::SERVER)?;
    let tree = lay_out()?;
    let dockerfile = workspace::root().join("Dockerfile");
    let build = ["build", "--target", "prebuilt", "--tag", tag, "--file"];
    succeed(workspace::command("docker").args(build).arg(dockerfile).arg(tree))?;
    succeed(workspace::command("docker").args(["run", "--rm", tag, "--version"])).context(
        "the binary does not run in the image, as when this system's C library is newer than Debian \
         12's; `docker build --tag keyward .` compiles in a container",
    )?;
    tell::say(format_args!("The image {tag} is ready; `docker compose up` starts three of it."));
    Ok(ExitCode::SUCCESS)
}

/// The files that the image has beyond Debian's, as they lie in it. Line numbers are left out: they are
/// two thirds of the binary.
fn lay_out() -> Result<PathBuf> {
    let tree = workspace::target().join("docker");
    let binary = tree.join("usr/local/bin/keyward");
    let authorities = tree.join(AUTHORITIES);
    for file in [&binary, &authorities] {
        let directory = file.parent().unwrap_or(&tree);
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    let mut strip = workspace::command("strip");
    succeed(strip.arg("--strip-debug").arg("-o").arg(binary).arg(workspace::keyward()))?;
    // Without it, an identity provider is trusted by what is mounted there.
    let ours = Path::new("/").join(AUTHORITIES);
    if ours.is_file() {
        fs::copy(&ours, authorities).with_context(|| format!("cannot copy {}", ours.display()))?;
    }
    Ok(tree)
}

/// Runs a program, whose words are shown, and which must succeed.
fn succeed(command: &mut Command) -> Result<()> {
    let end = process::watch(command, None, OnSignal::Kill, &mut |_| Ok(()))?;
    if !end.is_success() {
        bail!("{} failed", command.get_program().display());
    }
    Ok(())
}
