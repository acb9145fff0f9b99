//! Tokens of our own, for deployments without an identity provider.

use std::time::Duration;

use anyhow::Context as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use keyward_core::clock::Timestamp;
use keyward_core::id::{AccountId, WorkspaceId};
use keyward_core::scope::{InvalidScope, Permission, Scope, Scopes};
use serde::Serialize;

use super::LOCAL;
use super::secret::Secrets;

/// What a new token is to say.
#[derive(Debug, Clone)]
pub struct Mint {
    /// The workspaces that its bearer may act in.
    pub workspaces: Vec<WorkspaceId>,
    /// For whom its bearer acts; by default one account that is the same everywhere, see
    /// [`local_account`].
    pub account: Option<AccountId>,
    /// What its bearer may do there; by default all that can be done.
    pub scopes: Option<Scopes>,
    /// How long it is valid; tokens count whole seconds.
    pub ttl: Duration,
    /// When it is made.
    pub now: Timestamp,
}

/// The claims in the order in which RFC 9068 describes them.
#[derive(Serialize)]
struct Claims {
    iss: &'static str,
    exp: i64,
    aud: &'static str,
    sub: String,
    iat: i64,
    scope: String,
    workspaces: Vec<String>,
}

/// Makes a token and signs it with the first of `secrets`.
///
/// # Errors
///
/// When `ttl` is shorter than a second or leads beyond the year 9999.
pub fn mint(secrets: &Secrets, mint: &Mint) -> anyhow::Result<String> {
    let issued = mint.now.as_micros().div_euclid(1_000_000);
    let claims = Claims {
        iss: LOCAL,
        exp: end(issued, mint.ttl)?,
        aud: LOCAL,
        sub: mint.account.unwrap_or_else(local_account).to_string(),
        iat: issued,
        scope: mint.scopes.as_ref().unwrap_or(&all_scopes()).to_string(),
        workspaces: mint.workspaces.iter().map(ToString::to_string).collect(),
    };
    let key = EncodingKey::from_secret(secrets.first());
    encode(&Header::new(Algorithm::HS256), &claims, &key).context("the token cannot be signed")
}

/// The account of tokens that name none: the UUID version 5 that the issuer `keyward` and the
/// subject `local` make by the rule for every issuer and subject, so the same in every deployment.
pub fn local_account() -> AccountId {
    AccountId::from_subject(LOCAL, "local")
}

/// The scopes in `texts`, each of which may hold several with spaces between them.
///
/// # Errors
///
/// For the first that is no scope. A token's verifier passes over such; whoever asks for one has
/// misspelt it.
pub fn parse_scopes<T: AsRef<str>>(texts: &[T]) -> Result<Scopes, InvalidScope> {
    texts
        .iter()
        .flat_map(|text| text.as_ref().split_whitespace())
        .map(str::parse::<Scope>)
        .collect()
}

fn all_scopes() -> Scopes {
    Scopes::from_claim(&format!("{} {}", Permission::Read.scope(), Permission::Write.scope()))
}

fn end(issued: i64, ttl: Duration) -> anyhow::Result<i64> {
    anyhow::ensure!(ttl.as_secs() > 0, "a token is valid for a second at least");
    i64::try_from(ttl.as_secs())
        .ok()
        .and_then(|seconds| issued.checked_add(seconds))
        .filter(|&end| end <= Timestamp::MAX.as_micros() / 1_000_000)
        .context("a token cannot be valid beyond the year 9999")
}
