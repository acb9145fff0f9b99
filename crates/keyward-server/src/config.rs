//! The command line. Every flag has an environment twin. What only one of the short commands takes
//! stands beside that command.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use keyward_core::secret::KeyFormat;
use zeroize::Zeroizing;

use crate::command::audit::{AuditAction, AuditOptions};
use crate::command::check::CheckOptions;
use crate::command::completions::CompletionsOptions;
use crate::command::copy::CopyOptions;
use crate::command::keys::KeysOptions;
use crate::command::token::TokenOptions;
use crate::command::window::WindowAction;
use crate::drivers::Storage;
use crate::token::{ClaimNames, Secrets};

/// Issues workspace-scoped API keys, lists them, revokes them and, above all, verifies them.
#[derive(Debug, Parser)]
#[command(name = "keyward", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server.
    Serve(Box<ServeOptions>),
    /// Mint a token for a caller and print it.
    Token(TokenOptions),
    /// Move all keys from one storage to another, and verify that they are there.
    Copy(CopyOptions),
    /// Show or change how long the nodes of a cluster may answer from memory.
    #[command(subcommand)]
    Window(WindowAction),
    /// Create, show, change, rotate, revoke and verify keys: the API of a server, from a shell.
    Keys(Box<KeysOptions>),
    /// Show what was done to keys, and verify that nobody tampered with the record of it.
    #[command(subcommand)]
    Audit(Box<AuditAction>),
    /// Say whether a key is well formed, without asking anybody.
    Check(CheckOptions),
    /// Print what makes a shell complete commands and flags.
    Completions(CompletionsOptions),
}

/// Flags of `keyward serve`.
#[derive(Debug, Args)]
pub struct ServeOptions {
    #[command(flatten)]
    pub storage: StorageOption,

    #[command(flatten)]
    pub database: DatabaseOptions,

    /// Address to listen on; port 0 picks a free one, and the line that is printed when the server is
    /// ready tells it.
    #[arg(long, env = "KEYWARD_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// What keys begin with. Several may be given, separated by commas, so that it can be changed: the
    /// first begins new keys, and keys with any of them are good. Keys with none of them are malformed.
    #[arg(long, env = "KEYWARD_KEY_PREFIX", value_name = "PREFIX", default_value = "sk_live",
        value_parser = KeyFormat::new)]
    pub key_prefix: KeyFormat,

    #[command(flatten)]
    pub expiry: ExpiryOptions,

    /// Do not keep when keys are used, and do not show when they were. Of a cluster, all nodes or none.
    #[arg(long, env = "KEYWARD_NO_LAST_USED")]
    pub no_last_used: bool,

    /// How log lines are written, to standard error.
    #[arg(long, env = "KEYWARD_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace, or a tracing filter such as
    /// `info,keyward::token=debug`. Of libraries, which would write out whole requests, nothing
    /// below warnings is.
    #[arg(long, env = "KEYWARD_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,

    #[command(flatten)]
    pub callers: CallerOptions,

    #[command(flatten)]
    pub audit: AuditOptions,

    #[command(flatten)]
    pub limits: LimitOptions,
}

/// For how long keys are good.
#[derive(Debug, Args)]
#[command(next_help_heading = "Expiry")]
pub struct ExpiryOptions {
    /// Longest time for which a key may be made to be good, such as `90d`. Keys that are there stay as
    /// they are.
    #[arg(long, env = "KEYWARD_MAX_TTL", value_name = "TIME", value_parser = time)]
    pub max_ttl: Option<Duration>,

    /// Refuse to make a key that never expires.
    #[arg(long, env = "KEYWARD_REQUIRE_EXPIRY")]
    pub require_expiry: bool,
}

/// Where keys are stored.
#[derive(Debug, Args)]
pub struct StorageOption {
    /// Where keys are stored: `rocksdb://DIR` (relative), `rocksdb:///DIR` (absolute),
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full`, or `memory://` (gone when
    /// the process ends).
    #[arg(
        long,
        env = "KEYWARD_STORAGE",
        hide_env_values = true,
        value_name = "URL",
        default_value = "rocksdb://data",
        conflicts_with = "storage_file"
    )]
    storage: String,

    /// File that holds the URL, which may have a password in it.
    #[arg(long, env = "KEYWARD_STORAGE_FILE", value_name = "FILE")]
    storage_file: Option<PathBuf>,
}

impl StorageOption {
    /// The storage that was named.
    pub fn parse(&self) -> anyhow::Result<Storage> {
        Storage::parse(&url(&self.storage, self.storage_file.as_deref())?)
    }
}

/// A storage URL, as given or as it stands in a file.
pub fn url(given: &str, file: Option<&Path>) -> anyhow::Result<Zeroizing<String>> {
    let Some(file) = file else { return Ok(Zeroizing::new(given.to_owned())) };
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("the storage URL cannot be read from {}", file.display()))?;
    let text = Zeroizing::new(text);
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// How the database is used, where the storage is one.
#[derive(Debug, Args)]
#[command(next_help_heading = "Postgres")]
pub struct DatabaseOptions {
    /// Connections that this process has to Postgres at most, and one for asking what has changed.
    #[arg(long, env = "KEYWARD_POOL_SIZE", value_name = "N", default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub pool_size: u32,

    /// Longest wait for a free connection, or for a new one; then the answer is 503.
    #[arg(long, env = "KEYWARD_POOL_WAIT", value_name = "TIME", default_value = "500ms",
        value_parser = time)]
    pub pool_wait: Duration,

    /// How long nodes may answer from memory after they have asked Postgres what has changed, and how
    /// long a revocation waits before it answers: 0s to 60s. Only for a database that is empty;
    /// `keyward window set` changes it in one that is not.
    #[arg(long, env = "KEYWARD_REVOCATION_WINDOW", value_name = "TIME", default_value = "250ms",
        value_parser = window)]
    pub revocation_window: Duration,
}

impl DatabaseOptions {
    /// What holds where nothing else is said.
    pub const DEFAULT: Self = Self {
        pool_size: 10,
        pool_wait: Duration::from_millis(500),
        revocation_window: Duration::from_millis(250),
    };
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How callers of the management routes are recognised.
#[derive(Debug, Args)]
#[command(next_help_heading = "Callers")]
pub struct CallerOptions {
    #[command(flatten)]
    pub secret: SecretOptions,

    /// The identity provider's keys (JWKS): a URL, which is cached and refreshed, or a file.
    #[arg(long, env = "KEYWARD_JWKS", value_name = "URL|FILE")]
    pub jwks: Option<String>,

    /// The `iss` that tokens of the identity provider must have. Needed with --jwks.
    #[arg(long, env = "KEYWARD_ISSUER", value_name = "TEXT")]
    pub issuer: Option<String>,

    /// The `aud` that tokens of the identity provider must have. Needed with --jwks.
    #[arg(long, env = "KEYWARD_AUDIENCE", value_name = "TEXT")]
    pub audience: Option<String>,

    /// The claim that names the account.
    #[arg(long, env = "KEYWARD_ACCOUNT_CLAIM", value_name = "NAME", default_value = "sub")]
    pub account_claim: String,

    /// The claim that lists the workspaces.
    #[arg(
        long,
        env = "KEYWARD_WORKSPACES_CLAIM",
        value_name = "NAME",
        default_value = "workspaces"
    )]
    pub workspaces_claim: String,

    /// The claim that lists the scopes.
    #[arg(long, env = "KEYWARD_SCOPE_CLAIM", value_name = "NAME", default_value = "scope")]
    pub scope_claim: String,
}

impl CallerOptions {
    /// The names of the claims that are read.
    pub fn claims(&self) -> ClaimNames {
        ClaimNames {
            account: self.account_claim.clone(),
            workspaces: self.workspaces_claim.clone(),
            scope: self.scope_claim.clone(),
        }
    }
}

/// The secret that local tokens are signed with.
#[derive(Debug, Args)]
pub struct SecretOptions {
    /// Secret that tokens are signed with (HS256), at least 32 bytes; two may be given, separated by
    /// a comma, so that it can be rotated: the first signs, both are accepted. RocksDB has one of
    /// its own, made on first start as DIR/token.secret.
    #[arg(
        long,
        env = "KEYWARD_TOKEN_SECRET",
        hide_env_values = true,
        value_name = "SECRET",
        allow_hyphen_values = true,
        conflicts_with = "token_secret_file"
    )]
    token_secret: Option<SecretText>,

    /// File that holds the secret.
    #[arg(long, env = "KEYWARD_TOKEN_SECRET_FILE", value_name = "FILE")]
    token_secret_file: Option<PathBuf>,
}

impl SecretOptions {
    /// The secrets that were given, if any.
    pub fn secrets(&self) -> anyhow::Result<Option<Secrets>> {
        match (&self.token_secret, &self.token_secret_file) {
            (Some(text), _) => Secrets::parse(text).map(Some),
            (None, Some(file)) => Secrets::read(file).map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// A secret on its way from the command line. Reading it never fails, because a message about it
/// would repeat it.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

impl Deref for SecretText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretText {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(redacted)")
    }
}

/// What bounds the server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitOptions {
    /// Key records remembered in memory; 0 remembers none.
    #[arg(long, env = "KEYWARD_CACHE_ENTRIES", value_name = "N", default_value_t = 1_000_000)]
    pub cache_entries: usize,

    /// Keys looked up in the storage at once, because memory does not know them; more get 429.
    #[arg(long, env = "KEYWARD_MISS_CONCURRENCY", value_name = "N", default_value_t = 256)]
    pub miss_concurrency: usize,

    /// Longest wait for the answer to what has changed, where the storage is shared and a key is
    /// remembered; then the answer is 503.
    #[arg(long, env = "KEYWARD_FRESHNESS_WAIT", value_name = "TIME", default_value = "500ms",
        value_parser = time)]
    pub freshness_wait: Duration,

    /// Open connections; new ones wait. The limit of open files is raised to fit.
    #[arg(long, env = "KEYWARD_MAX_CONNECTIONS", value_name = "N", default_value_t = 10_000,
        value_parser = at_least_one)]
    pub max_connections: usize,

    /// Time for the headers of a request, also between two requests of a kept connection.
    #[arg(long, env = "KEYWARD_HEADER_TIMEOUT", value_name = "TIME", default_value = "10s",
        value_parser = time)]
    pub header_timeout: Duration,

    /// Bytes of a request's target and headers together; more get 431.
    #[arg(long, env = "KEYWARD_MAX_HEADER_BYTES", value_name = "BYTES", default_value_t = 32 * 1024)]
    pub max_header_bytes: usize,

    /// Bytes of a body; more get 413.
    #[arg(long, env = "KEYWARD_MAX_BODY_BYTES", value_name = "BYTES", default_value_t = 64 * 1024)]
    pub max_body_bytes: usize,

    /// Time from the end of a request's headers to its answer (408 when the body did not arrive by
    /// then, else 503), and for a client to take any part of an answer.
    #[arg(long, env = "KEYWARD_REQUEST_TIMEOUT", value_name = "TIME", default_value = "30s",
        value_parser = time)]
    pub request_timeout: Duration,
}

/// The longest window.
const MAX_WINDOW: Duration = Duration::from_mins(1);

/// A window: a time with its unit, in whole milliseconds.
pub fn window(text: &str) -> anyhow::Result<Duration> {
    let window =
        humantime::parse_duration(text).context("a window is a number and a unit: 250ms")?;
    if window > MAX_WINDOW || window.subsec_nanos() % 1_000_000 != 0 {
        bail!("a window is 0s to 60s, in whole milliseconds");
    }
    Ok(window)
}

/// A time with its unit, such as `500ms`, `10s` or `1h`; never zero.
pub fn time(text: &str) -> anyhow::Result<Duration> {
    let time = humantime::parse_duration(text).context("a time is a number and a unit: 10s, 1h")?;
    if time.is_zero() {
        bail!("a time is longer than nothing");
    }
    Ok(time)
}

fn at_least_one(text: &str) -> anyhow::Result<usize> {
    match text.parse()? {
        0 => bail!("at least 1 is needed"),
        n => Ok(n),
    }
}
