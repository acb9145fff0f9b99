//! `keyward completions`.

use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

use super::output;
use crate::config::Cli;

/// Flags of `keyward completions`.
#[derive(Debug, Args)]
#[command(after_help = "For bash, in ~/.bashrc: source <(keyward completions bash)")]
pub struct CompletionsOptions {
    /// The shell.
    shell: Shell,
}

/// Prints the script.
pub fn run(options: &CompletionsOptions) -> anyhow::Result<()> {
    let mut script = Vec::new();
    generate(options.shell, &mut Cli::command(), "keyward", &mut script);
    Ok(output::write(&String::from_utf8(script)?)?)
}
