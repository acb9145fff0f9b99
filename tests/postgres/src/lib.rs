//! A Postgres server for the tests and the bench, and databases in it.
//!
//! The program of this package provides a server for as long as somebody holds its standard input
//! open, and takes it away then: a [`Lease`](lease::Lease) is that somebody. A process that is
//! killed holds nothing open, so it leaves no container and no cluster behind.
//!
//! | room | holds |
//! |---|---|
//! | [`server`] | where a server comes from |
//! | [`local`] | the programs that are installed here, and clusters made with them |
//! | [`lease`] | the program, started by a process that needs a server |
//! | [`database`] | one database of its own for each test |
//!
//! The package depends on no other of the workspace: `cargo xtask queries` needs a server before
//! the Postgres driver can be compiled.

mod address;
pub mod database;
mod docker;
pub mod lease;
pub mod local;
pub mod server;

use anyhow::{Context as _, Result};
use rand::TryRng as _;

/// Text that nobody can guess, of letters and digits that need no quoting anywhere.
fn random_text() -> Result<String> {
    let mut bytes = [0; 16];
    rand::rngs::SysRng.try_fill_bytes(&mut bytes).context("the system has no randomness")?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
