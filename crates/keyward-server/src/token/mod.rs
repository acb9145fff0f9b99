//! Caller tokens: signed JWTs that say for whom a call is made, in which workspaces and with which
//! scopes.
//!
//! | room | holds |
//! |---|---|
//! | [`secret`] | the HS256 secrets, given by the operator or made on first start |
//! | [`mint`](mod@mint) | tokens of our own, signed with such a secret |
//! | [`jwks`] | the public keys of an identity provider, and which of them fits a token |
//! | [`fetch`] | the URL where the identity provider publishes them |
//! | [`refresh`] | the task that keeps what was fetched from there fresh |
//! | [`claims`] | what a token must say, once its signature is good |
//!
//! The algorithm that a token names chooses who may have signed it, never how a key is read: an
//! HS256 token is tried with the secrets alone and all others with the identity provider's keys
//! alone, so that a published RSA key can never pass for a shared secret.

mod claims;
mod fetch;
#[cfg(test)]
mod forge;
mod jwks;
mod mint;
mod refresh;
mod secret;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use keyward_core::caller::Caller;
use keyward_core::clock::Clock;

pub use self::claims::ClaimNames;
pub use self::mint::{Mint, mint, parse_scopes};
pub use self::secret::{LocalSecret, Secrets, local_secret, read_local_secret};

use self::claims::{Claims, Rules};
use self::fetch::Fetcher;
use self::jwks::KeySet;
use self::refresh::Refreshed;

/// The issuer and the audience of every token that is signed with a secret.
const LOCAL: &str = "keyward";

/// Whose tokens are accepted. Not to be printed: the URL of the keys may hold a password.
#[derive(Default)]
pub struct TokenOptions {
    /// Where the identity provider's keys are: an `http://` or `https://` URL, or a file.
    pub jwks: Option<String>,
    /// The `iss` of the identity provider's tokens; goes with `jwks`.
    pub issuer: Option<String>,
    /// The `aud` of the identity provider's tokens; goes with `jwks`.
    pub audience: Option<String>,
    /// What the identity provider calls the claims. Tokens signed with a secret use the default
    /// names, because those are the names that `keyward token` writes.
    pub claims: ClaimNames,
    /// The secrets of HS256 tokens. Beside `jwks` they belong here only when the operator gave
    /// them: a secret that was made without being asked for must not open a second door.
    pub secrets: Option<Secrets>,
}

/// Why a token does not identify a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Malformed, expired, or not signed by anyone who may.
    #[error("the token is not valid")]
    Invalid,
    /// The identity provider's keys could not be fetched even once, so nothing can be said.
    #[error("the keys of the identity provider cannot be reached")]
    Unavailable,
}

/// Verifies caller tokens.
pub struct Tokens {
    clock: Arc<dyn Clock>,
    local: Option<Local>,
    provider: Option<Provider>,
}

/// Tokens that whoever holds a secret signed.
struct Local {
    secrets: Vec<DecodingKey>,
    rules: Rules,
}

/// Tokens that an identity provider signed.
struct Provider {
    keys: ProviderKeys,
    rules: Rules,
}

enum ProviderKeys {
    File(Arc<KeySet>),
    Url(Refreshed),
}

impl Tokens {
    /// The verifier for these options, which judges times by `clock`.
    ///
    /// A JWKS file is read now and never again. A JWKS URL is fetched now and from then on kept
    /// fresh by a task that ends with this value. While it has never been fetched, tokens are
    /// answered with [`TokenError::Unavailable`]: an identity provider that starts later than we do
    /// must not keep us from starting.
    ///
    /// # Errors
    ///
    /// When the options contradict each other, name nobody whose tokens would be accepted, or name
    /// a JWKS file that cannot be read or holds no key that we can use.
    pub async fn open(options: TokenOptions, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let TokenOptions { jwks, issuer, audience, claims, secrets } = options;
        let provider = match (jwks, issuer, audience) {
            (Some(jwks), Some(issuer), Some(audience)) => {
                let rules = Rules { issuer, audience, names: claims };
                Some(Provider { keys: ProviderKeys::open(&jwks).await?, rules })
            }
            (Some(_), ..) => bail!("--jwks needs --issuer and --audience beside it"),
            (None, None, None) if claims == ClaimNames::default() => None,
            (None, ..) => bail!(
                "--issuer, --audience and the names of claims describe an identity provider's \
                 tokens and need --jwks beside them"
            ),
        };
        if provider.is_none() && secrets.is_none() {
            bail!("no caller could be told from another: give --jwks or --token-secret");
        }
        let local = secrets.as_ref().map(Local::new);
        Ok(Self { clock, local, provider })
    }

    /// The caller that `token` identifies.
    ///
    /// Waits for the identity provider only when the token names a key that is not known yet, and
    /// then for a few seconds at most.
    ///
    /// # Errors
    ///
    /// [`TokenError::Invalid`] for whatever is wrong with the token, which is logged at the level
    /// `debug`; [`TokenError::Unavailable`] when it cannot be judged.
    pub async fn authenticate(&self, token: &str) -> Result<Caller, TokenError> {
        let header = decode_header(token).map_err(|_| refused("no signed JWT"))?;
        if header.crit.is_some() {
            return Err(refused("the header makes an extension critical, and none is known"));
        }
        match (header.alg, &self.local, &self.provider) {
            (Algorithm::HS256, Some(local), _) => {
                self.verify(token, &header, &local.rules, local.secrets.iter())
            }
            (Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA, _, Some(provider)) => {
                let kid = header.kid.as_deref();
                let keys = provider.keys.knowing(kid).await.ok_or(TokenError::Unavailable)?;
                self.verify(token, &header, &provider.rules, keys.fitting(kid, header.alg))
            }
            _ => Err(refused("nobody is trusted with its algorithm")),
        }
    }

    fn verify<'a>(
        &self,
        token: &str,
        header: &Header,
        rules: &Rules,
        mut keys: impl Iterator<Item = &'a DecodingKey>,
    ) -> Result<Caller, TokenError> {
        let validation = signature_alone(header.alg);
        let claims = keys
            .find_map(|key| decode::<Claims>(token, key, &validation).ok())
            .ok_or_else(|| refused("no key verifies its signature"))?
            .claims;
        rules.judge(&claims, self.clock.now()).map_err(refused)
    }
}

impl Local {
    fn new(secrets: &Secrets) -> Self {
        let rules = Rules {
            issuer: LOCAL.to_owned(),
            audience: LOCAL.to_owned(),
            names: ClaimNames::default(),
        };
        Self { secrets: secrets.iter().map(DecodingKey::from_secret).collect(), rules }
    }
}

impl ProviderKeys {
    async fn open(source: &str) -> anyhow::Result<Self> {
        if let Some(fetcher) = Fetcher::of_url(source)? {
            let fetcher = Arc::new(fetcher);
            let fetch = move || {
                let fetcher = Arc::clone(&fetcher);
                async move { fetcher.fetch().await }
            };
            return Ok(Self::Url(Refreshed::start(fetch).await));
        }
        let keys = KeySet::read(Path::new(source))
            .with_context(|| format!("the JWKS file {source} cannot be used"))?;
        Ok(Self::File(Arc::new(keys)))
    }

    async fn knowing(&self, kid: Option<&str>) -> Option<Arc<KeySet>> {
        match self {
            Self::File(keys) => Some(Arc::clone(keys)),
            Self::Url(keys) => keys.knowing(kid).await,
        }
    }
}

/// Has the library check the signature and nothing else. It would judge times by the system's
/// clock and let an issuer be one of many; [`Rules::judge`] does both as we want it.
fn signature_alone(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

/// Tells the operator why, but neither the caller nor, with the token's own words, the log.
fn refused(reason: &'static str) -> TokenError {
    tracing::debug!(reason, "a caller token was refused");
    TokenError::Invalid
}
