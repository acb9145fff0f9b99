//! Keyward: the API-key service that teams run themselves.

mod command;
mod config;
mod drivers;
mod http;
mod poll;
mod serve;
mod timer;
mod token;

use std::process::ExitCode;

use clap::Parser as _;

use crate::config::{Cli, Command};

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(options) => command::serve::run(&options),
        Command::Token(options) => command::token::run(&options),
        Command::Copy(options) => command::copy::run(&options),
        Command::Window(action) => command::window::run(&action),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One sentence: the outer contexts say what was attempted, the inner ones why it failed.
            eprintln!("keyward: {error:#}");
            ExitCode::FAILURE
        }
    }
}
