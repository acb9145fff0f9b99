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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jsonwebtoken::dangerous::insecure_decode_claims;
    use keyward_core::clock::{Clock, ManualClock};
    use serde_json::{Value, json};

    use super::*;
    use crate::token::forge::{NOW, clock};
    use crate::token::{TokenError, TokenOptions, Tokens};

    const WORKSPACE: &str = "660e8400-e29b-41d4-a716-446655440000";

    fn secrets() -> Secrets {
        let text = "the secret that mints and is new,the secret that verifies and is old";
        Secrets::parse(text).unwrap()
    }

    fn hour() -> Mint {
        Mint {
            workspaces: vec![WORKSPACE.parse().unwrap()],
            account: None,
            scopes: None,
            ttl: Duration::from_hours(1),
            now: clock().now(),
        }
    }

    async fn verifier(clock: &Arc<ManualClock>) -> Tokens {
        let options = TokenOptions { secrets: Some(secrets()), ..TokenOptions::default() };
        Tokens::open(options, Arc::clone(clock) as Arc<dyn Clock>).await.unwrap()
    }

    /// The account is written out: were it ever to change, keys would change their creator.
    #[test]
    fn a_token_says_no_more_than_it_must() {
        let token = mint(&secrets(), &hour()).unwrap();
        let claims: Value = insecure_decode_claims(&token).unwrap();
        let expected = json!({
            "iss": "keyward",
            "exp": NOW + 3600,
            "aud": "keyward",
            "sub": "0650773b-c62c-55cf-8382-5ece38c1dfbf",
            "iat": NOW,
            "scope": "api_keys:read api_keys:write",
            "workspaces": [WORKSPACE],
        });
        assert_eq!(claims, expected);
    }

    #[tokio::test]
    async fn a_minted_token_is_accepted_until_it_ends() {
        let clock = clock();
        let tokens = verifier(&clock).await;
        let token = mint(&secrets(), &hour()).unwrap();
        let caller = tokens.authenticate(&token).await.unwrap();
        assert_eq!(caller.account, local_account());
        assert_eq!(caller.workspaces, hour().workspaces);
        assert!(caller.scopes.grant(Permission::Read) && caller.scopes.grant(Permission::Write));
        clock.advance(3_605_000_000);
        assert_eq!(tokens.authenticate(&token).await, Err(TokenError::Invalid));
    }

    #[tokio::test]
    async fn a_token_says_what_was_asked_for() {
        let account = "770e8400-e29b-41d4-a716-446655440000".parse().unwrap();
        let asked = Mint {
            workspaces: Vec::new(),
            account: Some(account),
            scopes: Some(parse_scopes(&["a api_keys:read", "b"]).unwrap()),
            ..hour()
        };
        let token = mint(&secrets(), &asked).unwrap();
        let caller = verifier(&clock()).await.authenticate(&token).await.unwrap();
        assert_eq!(caller.account, account);
        assert_eq!(caller.workspaces, []);
        assert_eq!(caller.scopes.to_string(), "a api_keys:read b");
    }

    #[test]
    fn a_token_must_live_and_must_end() {
        for ttl in [Duration::ZERO, Duration::from_millis(999), Duration::MAX] {
            assert!(mint(&secrets(), &Mint { ttl, ..hour() }).is_err(), "{ttl:?}");
        }
        let mint_at = |now, ttl| mint(&secrets(), &Mint { ttl, now, ..hour() });
        assert!(mint_at(Timestamp::MAX, Duration::from_secs(1)).is_err());
        assert!(mint_at(clock().now(), Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn a_misspelt_scope_is_an_error_rather_than_left_out() {
        assert_eq!(parse_scopes(&["api_keys:raed"]), Err(InvalidScope::Unknown));
        assert_eq!(parse_scopes(&["a\\b"]), Err(InvalidScope::Malformed));
        assert!(parse_scopes(&["", "  "]).unwrap().is_empty());
    }
}
