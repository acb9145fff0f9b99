//! `cargo xtask serve`: from a fresh clone to a working service.

use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result};

use crate::process::{self, End, Event, OnSignal};
use crate::{compile, demo, needs, tell, workspace};

const HELP: &str = "\
Builds the server, starts it, and prints three curl commands that work as pasted.

Usage: cargo xtask serve [flags of `keyward serve`]

Every flag is handed to `keyward serve` as it is; its own --help lists them all. The usual ones:
  --storage <url>     where keys are kept: rocksdb://DIR, rocksdb:///ABSOLUTE/DIR or memory://
                      (memory:// needs a --token-secret) [default: rocksdb://data]
  --listen <address>  where to listen; port 0 picks a free one [default: 127.0.0.1:8080]

A relative directory is one in the repository, wherever this is run. Ctrl-C ends the server
cleanly; a second Ctrl-C does not wait for it.";

/// The line with which the server says that it is ready begins with this.
const READY: &str = "keyward listening on ";

/// What decides how caller tokens are signed: given to the server, it is meant for the token too.
const TOKEN_FLAGS: [&str; 3] = ["--storage", "--token-secret", "--token-secret-file"];

/// Runs the command.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    if crate::asks_for_help(arguments) {
        tell::say(HELP);
        return Ok(ExitCode::SUCCESS);
    }
    let flags: Vec<String> = arguments.iter().filter(|flag| *flag != "--").cloned().collect();
    needs::require(&needs::BUILD)?;
    compile::announce();
    compile::shown(&compile::SERVER)?;
    serve(&flags)
}

/// Starts the server and stays until it ends. What it logs goes where this program's standard
/// error goes; when it cannot start, it says why there itself.
fn serve(flags: &[String]) -> Result<ExitCode> {
    let mut server = workspace::command(workspace::keyward());
    server.arg("serve").args(flags).stdout(Stdio::piped());
    let mut ready = false;
    let end = process::watch(&mut server, None, OnSignal::Drain, &mut |event| {
        if let Event::Out(line) = event {
            tell::say(line);
            if let Some(address) = line.strip_prefix(READY) {
                ready = true;
                let url = address.split(' ').next().unwrap_or(address);
                tell::say(welcome(url.trim_end_matches('/'), flags)?);
            }
        }
        Ok(())
    })?;
    Ok(match end {
        End::Exited(status) if status.success() => {
            tell::note("The server has ended; what it keeps is in its storage.");
            ExitCode::SUCCESS
        }
        End::Exited(status) => {
            if ready {
                tell::note(format_args!("xtask: the server broke off: {status}"));
            }
            ExitCode::FAILURE
        }
        End::TimedOut => ExitCode::FAILURE,
    })
}

/// What a newcomer does next. Without a secret to sign with, as with an identity provider, the
/// commands show where the provider's token goes.
fn welcome(url: &str, flags: &[String]) -> Result<String> {
    let (note, token) = match mint_token(flags)? {
        Some(token) => {
            (format!("A caller token for the demo workspace, good for a day:\n\n{token}"), token)
        }
        None => {
            ("Put a token of your identity provider in place of <token>.".into(), "<token>".into())
        }
    };
    let commands = demo::instructions(url, &token);
    Ok(format!("\n{note}\n\n{commands}\n\nCtrl-C ends the server.\n"))
}

/// A token that the server at hand accepts, by the same secret; `None` where `keyward token` has
/// none to sign with, and has said so.
fn mint_token(flags: &[String]) -> Result<Option<String>> {
    let output = workspace::command(workspace::keyward())
        .args(["token", "--workspace", demo::WORKSPACE, "--ttl", "24h"])
        .args(token_flags(flags))
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run keyward token")?;
    let token = String::from_utf8(output.stdout).context("keyward token printed no text")?;
    Ok(output.status.success().then(|| token.trim().to_owned()))
}

/// Those of the server's flags, with their values, that `keyward token` has to be given as well.
fn token_flags(flags: &[String]) -> Vec<&String> {
    let mut chosen = Vec::new();
    let mut rest = flags.iter();
    while let Some(flag) = rest.next() {
        let (name, joined) =
            flag.split_once('=').map_or((flag.as_str(), false), |(name, _)| (name, true));
        if !TOKEN_FLAGS.contains(&name) {
            continue;
        }
        chosen.push(flag);
        if !joined {
            chosen.extend(rest.next());
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_signed_with_what_the_server_was_given() {
        let flags = ["--listen", "127.0.0.1:0", "--storage", "rocksdb://x", "--token-secret=s"]
            .map(str::to_owned);
        assert_eq!(token_flags(&flags), ["--storage", "rocksdb://x", "--token-secret=s"]);
    }

    #[test]
    fn a_flag_without_its_value_is_left_for_the_server_to_refuse() {
        let flags = ["--storage".to_owned()];
        assert_eq!(token_flags(&flags), ["--storage"]);
    }
}
