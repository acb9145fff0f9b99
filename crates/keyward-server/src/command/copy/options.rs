//! The flags of `keyward copy`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::config::url;
use crate::drivers::Storage;

/// Flags of `keyward copy`.
#[derive(Debug, Args)]
pub struct CopyOptions {
    /// The storage that the keys are in. It is sealed, and after a successful copy stays so: it
    /// verifies keys and takes no changes. After a failed one it takes changes again.
    #[arg(
        long,
        env = "KEYWARD_COPY_FROM",
        hide_env_values = true,
        value_name = "URL",
        required_unless_present = "from_file",
        conflicts_with = "from_file"
    )]
    from: Option<String>,

    /// File that holds that URL.
    #[arg(long, env = "KEYWARD_COPY_FROM_FILE", value_name = "FILE")]
    from_file: Option<PathBuf>,

    /// The storage that they are to be in. Nodes may be using it already.
    #[arg(
        long,
        env = "KEYWARD_COPY_TO",
        hide_env_values = true,
        value_name = "URL",
        required_unless_present_any = ["to_file", "unseal"],
        conflicts_with = "to_file"
    )]
    to: Option<String>,

    /// File that holds that URL.
    #[arg(long, env = "KEYWARD_COPY_TO_FILE", value_name = "FILE")]
    to_file: Option<PathBuf>,

    /// Copy into a storage that has other keys too, and keep those.
    #[arg(long, env = "KEYWARD_COPY_MERGE")]
    pub merge: bool,

    /// Print what was done as one JSON object.
    #[arg(long, env = "KEYWARD_COPY_JSON")]
    pub json: bool,

    /// Copy nothing, and unseal the storage: it takes changes again. For going back to it, and for
    /// when a copy was killed.
    #[arg(long, env = "KEYWARD_COPY_UNSEAL", conflicts_with_all = ["to", "to_file"])]
    unseal: bool,
}

impl CopyOptions {
    /// The storage to copy from, or to unseal.
    pub fn source(&self) -> anyhow::Result<Storage> {
        let given = self.from.as_deref().unwrap_or_default();
        Storage::parse(&url(given, self.from_file.as_deref())?).context("--from")
    }

    /// The storage to copy to; `None` where the source is to be unsealed.
    pub fn target(&self) -> anyhow::Result<Option<Storage>> {
        if self.unseal {
            return Ok(None);
        }
        let given = self.to.as_deref().unwrap_or_default();
        Storage::parse(&url(given, self.to_file.as_deref())?).context("--to").map(Some)
    }
}
