//! Who is believed: every right case beside its wrong twin.

use keyward_core::caller::Credential;
use keyward_core::id::AccountId;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::forge::{NOW, Provider, Signer, base64url, but, clock};
use super::*;

const SECRET: &str = "a secret that is long enough for it";
const OLD_SECRET: &str = "the secret that came before that one";

fn local_claims() -> Value {
    but(Provider::claims(), json!({ "iss": "keyward", "aud": "keyward" }))
}

fn provider_options(jwks: &str) -> TokenOptions {
    TokenOptions {
        jwks: Some(jwks.to_owned()),
        issuer: Some(Provider::ISSUER.to_owned()),
        audience: Some(Provider::AUDIENCE.to_owned()),
        ..TokenOptions::default()
    }
}

fn with_secret(text: &str, options: TokenOptions) -> TokenOptions {
    TokenOptions { secrets: Some(Secrets::parse(text).unwrap()), ..options }
}

async fn open(options: TokenOptions) -> anyhow::Result<Tokens> {
    Tokens::open(options, clock()).await
}

async fn trusting_secret(text: &str) -> Tokens {
    open(with_secret(text, TokenOptions::default())).await.unwrap()
}

/// A file with this content, and the options that name it.
fn jwks_file(jwks: &Value) -> (NamedTempFile, TokenOptions) {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), jwks.to_string()).unwrap();
    let options = provider_options(file.path().to_str().unwrap());
    (file, options)
}

async fn trusting(jwks: &Value) -> Tokens {
    let (_file, options) = jwks_file(jwks);
    open(options).await.unwrap()
}

async fn refusal(options: TokenOptions) -> String {
    format!("{:#}", open(options).await.err().expect("the options are refused"))
}

async fn assert_invalid(tokens: &Tokens, token: &str, why: &str) {
    assert_eq!(tokens.authenticate(token).await, Err(TokenError::Invalid), "{why}");
}

#[tokio::test]
async fn a_token_of_the_identity_provider_is_its_caller() {
    let provider = Provider::shared();
    let tokens = trusting(&provider.jwks()).await;
    for (kid, signer) in provider.signers() {
        let caller =
            tokens.authenticate(&signer.token_naming(kid, &Provider::claims())).await.unwrap();
        assert_eq!(caller.account, AccountId::from_subject(Provider::ISSUER, "ann"), "{kid}");
        assert_eq!(caller.credential, Credential::Token);
        assert_eq!(caller.scopes.to_string(), "api_keys:read orders:read");
        assert_eq!(caller.workspaces.len(), 1);
    }
}

#[tokio::test]
async fn a_stranger_with_a_good_key_of_their_own_is_nobody() {
    let tokens = trusting(&Provider::shared().jwks()).await;
    for (kid, stranger) in [("rsa", Signer::rsa()), ("ec", Signer::ec()), ("ed", Signer::ed())] {
        assert_invalid(&tokens, &stranger.token_naming(kid, &Provider::claims()), kid).await;
        assert_invalid(&tokens, &stranger.token(&Provider::claims()), kid).await;
        let header = json!({ "alg": stranger.algorithm(), "jwk": stranger.jwk(kid) });
        let carrying_its_key = stranger.token_with(&header, &Provider::claims());
        assert_invalid(&tokens, &carrying_its_key, kid).await;
    }
}

#[tokio::test]
async fn a_token_without_a_key_id_is_tried_with_the_keys_that_fit() {
    let provider = Provider::shared();
    let second = Signer::ec();
    let mut jwks = provider.jwks();
    jwks["keys"].as_array_mut().unwrap().push(second.jwk("second"));
    let tokens = trusting(&jwks).await;
    for signer in [&provider.rsa, &provider.ec, &provider.ed, &second] {
        tokens.authenticate(&signer.token(&Provider::claims())).await.unwrap();
    }
}

#[tokio::test]
async fn a_key_id_holds_the_token_to_that_key() {
    let provider = Provider::shared();
    let tokens = trusting(&provider.jwks()).await;
    let claims = Provider::claims();
    assert_invalid(&tokens, &provider.ec.token_naming("unknown", &claims), "no such key").await;
    assert_invalid(&tokens, &provider.ec.token_naming("rsa", &claims), "of another type").await;
    assert_invalid(&tokens, &provider.ec.token_naming("", &claims), "an empty name").await;
}

#[tokio::test]
async fn a_public_key_never_passes_for_a_secret() {
    let provider = Provider::shared();
    let keys_alone = trusting(&provider.jwks()).await;
    let (_file, options) = jwks_file(&provider.jwks());
    let secret_too = open(with_secret(SECRET, options)).await.unwrap();

    let jwk = provider.rsa.jwk("rsa");
    let published = [
        provider.rsa.public_der(),
        jwk.to_string().into_bytes(),
        jwk["n"].as_str().unwrap().as_bytes().to_vec(),
        Vec::new(),
    ];
    for secret in published {
        let forger = Signer::secret(secret);
        for claims in [Provider::claims(), local_claims()] {
            for token in [forger.token(&claims), forger.token_naming("rsa", &claims)] {
                assert_invalid(&keys_alone, &token, "an RSA key as a secret").await;
                assert_invalid(&secret_too, &token, "an RSA key as a secret").await;
            }
        }
    }
}

#[tokio::test]
async fn a_published_secret_is_no_key() {
    let oct = Signer::secret(SECRET);
    let mut jwks = Provider::shared().jwks();
    jwks["keys"].as_array_mut().unwrap().push(oct.jwk("oct"));
    let tokens = trusting(&jwks).await;
    assert_invalid(&tokens, &oct.token_naming("oct", &Provider::claims()), "HS256").await;
    assert_invalid(&tokens, &oct.token(&Provider::claims()), "HS256").await;
}

#[tokio::test]
async fn an_algorithm_that_does_not_fit_the_key_is_refused() {
    let provider = Provider::shared();
    let tokens = trusting(&provider.jwks()).await;
    for algorithm in ["RS384", "PS256", "ES256", "EdDSA", "HS256", "RS1", "rs256", ""] {
        for header in [json!({ "alg": algorithm, "kid": "rsa" }), json!({ "alg": algorithm })] {
            let token = provider.rsa.token_with(&header, &Provider::claims());
            assert_invalid(&tokens, &token, algorithm).await;
        }
    }
    let sane = json!({ "alg": "RS256", "kid": "rsa" });
    tokens.authenticate(&provider.rsa.token_with(&sane, &Provider::claims())).await.unwrap();
}

#[tokio::test]
async fn an_unsigned_token_is_refused() {
    let (_file, options) = jwks_file(&Provider::shared().jwks());
    let tokens = open(with_secret(SECRET, options)).await.unwrap();
    for claims in [Provider::claims(), local_claims()] {
        let payload = base64url(claims.to_string());
        for algorithm in ["none", "None", "NONE", "HS256", "RS256", "ES256", "EdDSA"] {
            let header = base64url(json!({ "alg": algorithm, "typ": "JWT" }).to_string());
            assert_invalid(&tokens, &format!("{header}.{payload}."), algorithm).await;
            assert_invalid(&tokens, &format!("{header}.{payload}"), algorithm).await;
        }
    }
}

#[tokio::test]
async fn a_changed_token_is_refused() {
    let provider = Provider::shared();
    let tokens = trusting(&provider.jwks()).await;
    for (kid, signer) in provider.signers() {
        let good = signer.token_naming(kid, &Provider::claims());
        let mut parts = good.split('.');
        let (header, _, signature) =
            (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let more = but(Provider::claims(), json!({ "scope": "api_keys:write" }));
        let claims_changed = format!("{header}.{}.{signature}", base64url(more.to_string()));
        assert_invalid(&tokens, &claims_changed, "other claims").await;
        let plain = base64url(json!({ "alg": signer.algorithm() }).to_string());
        let header_changed = good.replacen(header, &plain, 1);
        assert_invalid(&tokens, &header_changed, "another header").await;
        assert_invalid(&tokens, &good[..good.len() - 2], "a shorter signature").await;
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let tokens = trusting_secret(SECRET).await;
    let deep =
        base64url(format!("{{\"alg\":\"HS256\",\"x\":{}1{}}}", "[".repeat(9000), "]".repeat(9000)));
    let good = Signer::secret(SECRET).token(&local_claims());
    for token in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "é.é.é",
        "\0.\0.\0",
        "e30.e30.e30",
        "bnVsbA.bnVsbA.",
        &format!("{deep}.e30.e30"),
        &format!("{good}."),
        &format!("{good}.x"),
        &format!(" {good}"),
        &format!("{good}="),
        &format!(".{good}"),
    ] {
        assert_invalid(&tokens, token, token).await;
    }
    for claims in [json!([]), json!("text"), json!(1), Value::Null] {
        let token = Signer::secret(SECRET).token(&claims);
        assert_invalid(&tokens, &token, "claims that are no object").await;
    }
    tokens.authenticate(&good).await.unwrap();
}

#[tokio::test]
async fn a_critical_extension_is_refused() {
    let tokens = trusting_secret(SECRET).await;
    for crit in [json!(["b64"]), json!(["exp"]), json!([]), json!("exp"), json!({})] {
        let header = json!({ "alg": "HS256", "crit": crit, "b64": true, "exp": NOW + 60 });
        let token = Signer::secret(SECRET).token_with(&header, &local_claims());
        assert_invalid(&tokens, &token, &crit.to_string()).await;
    }
}

#[tokio::test]
async fn the_type_of_a_token_does_not_matter() {
    let tokens = trusting_secret(SECRET).await;
    for typ in ["JWT", "at+jwt", "anything"] {
        let header = json!({ "alg": "HS256", "typ": typ });
        let token = Signer::secret(SECRET).token_with(&header, &local_claims());
        tokens.authenticate(&token).await.unwrap();
    }
}

#[tokio::test]
async fn either_secret_verifies_and_no_other() {
    let tokens = trusting_secret(&format!("{SECRET},{OLD_SECRET}")).await;
    for secret in [SECRET, OLD_SECRET] {
        let caller = tokens.authenticate(&Signer::secret(secret).token(&local_claims())).await;
        assert_eq!(caller.unwrap().account, AccountId::from_subject("keyward", "ann"));
    }
    let one = trusting_secret(SECRET).await;
    let withdrawn = Signer::secret(OLD_SECRET).token(&local_claims());
    assert_invalid(&one, &withdrawn, "a secret that was taken away").await;
    let both = Signer::secret(format!("{SECRET},{OLD_SECRET}")).token(&local_claims());
    assert_invalid(&tokens, &both, "the list is no secret").await;
}

#[tokio::test]
async fn a_secret_signs_with_one_algorithm_alone() {
    let tokens = trusting_secret(SECRET).await;
    for algorithm in ["HS384", "HS512", "RS256", "ES256", "EdDSA"] {
        let header = json!({ "alg": algorithm });
        let token = Signer::secret(SECRET).token_with(&header, &local_claims());
        assert_invalid(&tokens, &token, algorithm).await;
    }
}

#[tokio::test]
async fn a_secret_signs_for_keyward_alone() {
    let tokens = trusting_secret(SECRET).await;
    for changes in [json!({ "iss": Provider::ISSUER }), json!({ "aud": Provider::AUDIENCE })] {
        let token = Signer::secret(SECRET).token(&but(local_claims(), changes));
        assert_invalid(&tokens, &token, "another party").await;
    }
}

#[tokio::test]
async fn secret_and_identity_provider_each_sign_in_their_own_name() {
    let provider = Provider::shared();
    let (_file, options) = jwks_file(&provider.jwks());
    let claims = ClaimNames { account: "oid".into(), ..ClaimNames::default() };
    let tokens = open(with_secret(SECRET, TokenOptions { claims, ..options })).await.unwrap();
    let theirs = but(Provider::claims(), json!({ "oid": "bob" }));
    let secret = Signer::secret(SECRET);

    let caller = tokens.authenticate(&provider.ec.token(&theirs)).await.unwrap();
    assert_eq!(caller.account, AccountId::from_subject(Provider::ISSUER, "bob"));
    let caller = tokens.authenticate(&secret.token(&local_claims())).await.unwrap();
    assert_eq!(caller.account, AccountId::from_subject("keyward", "ann"));
    assert_invalid(&tokens, &secret.token(&theirs), "in the provider's name").await;
    assert_invalid(&tokens, &provider.ec.token(&local_claims()), "in the secret's name").await;
}

#[tokio::test]
async fn a_token_ends_when_the_clock_says_so() {
    let clock = clock();
    let options = with_secret(SECRET, TokenOptions::default());
    let tokens = Tokens::open(options, Arc::clone(&clock) as Arc<dyn Clock>).await.unwrap();
    let token = Signer::secret(SECRET).token(&local_claims());
    clock.advance(65_000_000 - 1);
    tokens.authenticate(&token).await.unwrap();
    clock.advance(1);
    assert_invalid(&tokens, &token, "expired").await;
}

#[tokio::test]
async fn options_that_contradict_each_other_are_refused() {
    let nobody = refusal(TokenOptions::default()).await;
    assert!(nobody.contains("--jwks or --token-secret"), "{nobody}");

    let (_file, options) = jwks_file(&Provider::shared().jwks());
    let lone = refusal(TokenOptions { issuer: None, ..options }).await;
    assert!(lone.contains("--issuer and --audience"), "{lone}");
    let (_file, options) = jwks_file(&Provider::shared().jwks());
    let lone = refusal(TokenOptions { audience: None, ..options }).await;
    assert!(lone.contains("--issuer and --audience"), "{lone}");

    let renamed = ClaimNames { account: "oid".into(), ..ClaimNames::default() };
    for options in [
        TokenOptions { issuer: Some("a".into()), ..TokenOptions::default() },
        TokenOptions { audience: Some("a".into()), ..TokenOptions::default() },
        TokenOptions { claims: renamed, ..TokenOptions::default() },
    ] {
        let message = refusal(with_secret(SECRET, options)).await;
        assert!(message.contains("need --jwks"), "{message}");
    }
}

#[tokio::test]
async fn a_jwks_file_that_gives_no_key_is_refused() {
    let missing = refusal(provider_options("no/such/file.json")).await;
    assert!(missing.starts_with("the JWKS file no/such/file.json cannot be used"), "{missing}");
    for jwks in [json!({}), json!([]), json!({ "keys": [] }), json!({ "keys": [{}] })] {
        let (_file, options) = jwks_file(&jwks);
        let message = refusal(options).await;
        assert!(message.contains("cannot be used"), "{message}");
    }
}

#[tokio::test]
async fn a_url_that_cannot_be_fetched_is_refused_without_being_shown() {
    for url in ["ftp://ann:hunter2@host/", "file:///etc/passwd", "http://ann:hunter2@:80:80/"] {
        let message = refusal(provider_options(url)).await;
        assert!(message.contains("--jwks") && !message.contains("hunter2"), "{message}");
    }
}
