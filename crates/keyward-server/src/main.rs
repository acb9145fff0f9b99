//! Keyward: the API-key service that teams run themselves.

mod command;
mod config;
mod drivers;
mod http;
mod poll;
mod seal;
mod serve;
mod timer;
mod token;
mod uses;

use std::process::ExitCode;

use clap::Parser as _;

use crate::command::keys::Failure;
use crate::config::{Cli, Command};

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(options) => command::serve::run(&options),
        Command::Token(options) => command::token::run(&options),
        Command::Copy(options) => command::copy::run(&options),
        Command::Window(action) => command::window::run(&action),
        Command::Keys(options) => command::keys::run(&options),
        Command::Audit(action) => command::audit::run(&action),
        Command::Check(options) => command::check::run(&options),
        Command::Completions(options) => command::completions::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One sentence: the outer contexts say what was attempted, the inner ones why it failed.
            eprintln!("keyward: {error:#}");
            error.downcast_ref::<Failure>().map_or(ExitCode::FAILURE, Failure::exit_code)
        }
    }
}
