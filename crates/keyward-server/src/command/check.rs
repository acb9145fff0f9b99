//! `keyward check`: is this a key, or does it only look like one?

use std::io::{self, IsTerminal as _, Read as _, stdin};

use anyhow::Context as _;
use clap::Args;
use keyward_core::secret::KeyFormat;
use zeroize::Zeroizing;

use super::output;
use crate::config::SecretText;

/// Flags of `keyward check`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 well formed, 1 malformed, 2 the command line is wrong.\n\n\
    Whether a well-formed key was ever made, and is good, only a server can tell: `keyward keys \
    verify`.")]
pub struct CheckOptions {
    #[command(flatten)]
    presented: PresentedKey,

    /// What keys begin with; several are separated by commas.
    #[arg(long, env = "KEYWARD_KEY_PREFIX", value_name = "PREFIX", default_value = "sk_live",
        value_parser = KeyFormat::new)]
    key_prefix: KeyFormat,
}

/// Judges a key by its shape and its checksum.
pub fn run(options: &CheckOptions) -> anyhow::Result<()> {
    let key = options.presented.read()?;
    options.key_prefix.digest(&key)?;
    Ok(output::write("well formed\n")?)
}

/// A key that somebody has.
#[derive(Debug, Args)]
pub struct PresentedKey {
    /// The key. Left out or `-`: a line of standard input, which is better: other users of this
    /// machine see the arguments of every process, and shells write them down.
    #[arg(value_name = "KEY")]
    key: Option<SecretText>,
}

impl PresentedKey {
    /// Longest line that is read: far longer than a key.
    const LONGEST: u64 = 4_096;

    /// The key as it was given, without white space around it.
    pub fn read(&self) -> anyhow::Result<Zeroizing<String>> {
        match self.key.as_deref() {
            None | Some("-") => Self::line().context("standard input cannot be read"),
            Some(key) => Ok(Zeroizing::new(key.trim().to_owned())),
        }
    }

    fn line() -> io::Result<Zeroizing<String>> {
        if stdin().is_terminal() {
            eprintln!("keyward: type or paste the key");
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(256));
        for byte in stdin().lock().take(Self::LONGEST).bytes() {
            match byte? {
                b'\n' => break,
                byte => bytes.push(byte),
            }
        }
        // What is not text is no key, and is judged as one that is malformed.
        Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).trim().to_owned()))
    }
}
