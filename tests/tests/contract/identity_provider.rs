//! Who may call: tokens of an identity provider, whose key set is a file or a URL.

use jsonwebtoken::Algorithm;
use keyward_core::id::AccountId;
use keyward_tests::identity::{self, AUDIENCE, ISSUER, SigningKey, key_set};
use keyward_tests::launch::Launch;
use keyward_tests::server::Server;
use keyward_tests::tenant::Tenant;
use keyward_tests::tokens::{self, with};
use keyward_tests::toy::Toy;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

#[tokio::test]
async fn tokens_of_every_documented_algorithm_are_accepted() {
    let keys = ALGORITHMS.map(|algorithm| SigningKey::new(algorithm, &format!("{algorithm:?}")));
    let (server, _file) = start_with_file(&key_set(&keys.each_ref())).await;
    let tenant = server.tenant();
    for key in &keys {
        let token = key.sign(&identity::claims(&[tenant.workspace()]));
        assert_accepted(&tenant, &token).await;
        let stranger = key.sign(&identity::claims(&[]));
        tenant.with_credential(stranger).request("GET").send().await.expect_problem(403);
    }
    tenant.request("GET").send().await.expect_problem(401);
}

#[tokio::test]
async fn a_token_that_the_key_set_does_not_vouch_for_is_refused() {
    let rsa = SigningKey::new(Algorithm::RS256, "the-key");
    let (server, _file) = start_with_file(&key_set(&[&rsa])).await;
    let tenant = server.tenant();
    let claims = identity::claims(&[tenant.workspace()]);
    assert_accepted(&tenant, &rsa.sign(&claims)).await;

    let impostor = SigningKey::new(Algorithm::RS256, "the-key");
    let other_algorithm = SigningKey::new(Algorithm::ES256, "the-key");
    let modulus = rsa.public()["n"].as_str().unwrap().to_owned();
    for token in [
        impostor.sign(&claims),
        impostor.sign_as(None, &claims),
        impostor.sign_as(Some("unknown"), &claims),
        other_algorithm.sign(&claims),
        tokens::unsigned(&claims),
        // The public half as a shared secret: nobody who knows only it may sign.
        tokens::hs256(&modulus, &claims),
        tokens::hs256(&rsa.public().to_string(), &claims),
        tokens::hs256(server.secret(), &claims),
        tokens::hs256(server.secret(), &tokens::claims(&[tenant.workspace()])),
    ] {
        assert_refused(&tenant, &token).await;
    }
}

#[tokio::test]
async fn every_claim_of_an_identity_provider_is_checked() {
    let key = key("1");
    let (server, _file) = start_with_file(&key_set(&[&key])).await;
    let tenant = server.tenant();
    let good = identity::claims(&[tenant.workspace()]);
    for (claim, value) in [
        ("iss", json!("keyward")),
        ("iss", json!(format!("{ISSUER}/"))),
        ("iss", Value::Null),
        ("aud", json!("keyward")),
        ("aud", json!([ISSUER])),
        ("aud", Value::Null),
        ("exp", json!(tokens::now() - 60)),
        ("exp", Value::Null),
        ("nbf", json!(tokens::now() + 600)),
        ("sub", Value::Null),
    ] {
        assert_refused(&tenant, &key.sign(&with(good.clone(), claim, value))).await;
    }
    let two_audiences = with(good.clone(), "aud", json!(["another", AUDIENCE]));
    assert_accepted(&tenant, &key.sign(&two_audiences)).await;
}

#[tokio::test]
async fn the_account_belongs_to_the_issuer() {
    let key = SigningKey::new(Algorithm::EdDSA, "1");
    let (server, _file) = start_with_file(&key_set(&[&key])).await;
    let tenant = server.tenant();
    let claims = with(identity::claims(&[tenant.workspace()]), "sub", "auth0|someone");
    let caller = tenant.with_credential(key.sign(&claims));
    let expected = AccountId::from_subject(ISSUER, "auth0|someone").to_string();
    assert_eq!(caller.create("a").await.created_by.to_string(), expected);
}

#[tokio::test]
async fn the_names_of_the_claims_can_be_chosen() {
    let key = key("1");
    let file = write(&key_set(&[&key]));
    let launch = provider_flags(Launch::new(), file.path().to_str().unwrap())
        .flag("--account-claim", "uid")
        .flag("--workspaces-claim", "https://example.com/teams")
        .flag("--scope-claim", "scp");
    let server = launch.start().await;
    let tenant = server.tenant();
    assert_refused(&tenant, &key.sign(&with(identity::claims(&[]), "uid", Value::Null))).await;
    let mut claims = identity::claims(&[]);
    for (name, value) in [
        ("sub", json!("overlooked")),
        ("uid", json!(tokens::ACCOUNT)),
        ("https://example.com/teams", json!([tenant.workspace()])),
        ("scp", json!(tokens::ALL_SCOPES)),
        ("workspaces", Value::Null),
        ("scope", Value::Null),
    ] {
        claims = with(claims, name, value);
    }
    let caller = tenant.with_credential(key.sign(&claims));
    assert_eq!(caller.create("a").await.created_by.to_string(), tokens::ACCOUNT);
}

#[tokio::test]
async fn a_key_set_behind_a_url_is_fetched_once_and_kept() {
    let key = key("1");
    let provider = Toy::start(key_set(&[&key])).await;
    let server = start_with_url(&provider).await;
    let tenant = server.tenant();
    let token = key.sign(&identity::claims(&[tenant.workspace()]));
    for _ in 0..20 {
        assert_accepted(&tenant, &token).await;
    }
    assert_eq!(provider.heads().len(), 1);
    assert!(provider.heads()[0].starts_with("GET /keys HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_key_that_the_provider_rotated_in_is_found() {
    let (old, new) = (key("1"), key("2"));
    let provider = Toy::start(key_set(&[&old])).await;
    let server = start_with_url(&provider).await;
    let tenant = server.tenant();
    let claims = identity::claims(&[tenant.workspace()]);
    assert_accepted(&tenant, &old.sign(&claims)).await;
    provider.answer_with(key_set(&[&old, &new]));
    assert_accepted(&tenant, &new.sign(&claims)).await;
    assert_accepted(&tenant, &old.sign(&claims)).await;
}

#[tokio::test]
async fn tokens_with_unknown_keys_cause_no_more_than_one_fetch_a_minute() {
    let key = key("1");
    let provider = Toy::start(key_set(&[&key])).await;
    let server = start_with_url(&provider).await;
    let tenant = server.tenant();
    let claims = identity::claims(&[tenant.workspace()]);
    assert_accepted(&tenant, &key.sign(&claims)).await;
    let before = provider.heads().len();
    for n in 0..20 {
        let unknown = key.sign_as(Some(&format!("unknown-{n}")), &claims);
        assert_refused(&tenant, &unknown).await;
    }
    assert!(provider.heads().len() <= before + 1, "{} fetches", provider.heads().len() - before);
    assert_accepted(&tenant, &key.sign(&claims)).await;
}

#[tokio::test]
async fn an_identity_provider_that_is_down_makes_tokens_unavailable_and_nothing_else() {
    // A port that nobody listens on: bound, and let go of.
    let provider = Toy::start("").await;
    let address = provider.address();
    drop(provider);
    let launch = provider_flags(Launch::new(), &format!("http://{address}/keys"));
    let server = launch.start().await;
    let tenant = server.tenant();
    let key = key("1");
    let token = key.sign(&identity::claims(&[tenant.workspace()]));
    let answer = tenant.with_credential(token).request("GET").send().await.expect_problem(503);
    assert!(answer.header("retry-after").parse::<u32>().is_ok(), "{answer:?}");
    tenant.with_credential("nonsense").request("GET").send().await.expect_problem(401);
    server.client().get("/healthz").send().await.expect(200);
    assert_eq!(tenant.verdict("sk_live_x").await, "malformed");
}

#[tokio::test]
async fn an_identity_provider_that_goes_down_later_harms_nobody() {
    let key = SigningKey::new(Algorithm::RS256, "1");
    let provider = Toy::start(key_set(&[&key])).await;
    let server = start_with_url(&provider).await;
    let tenant = server.tenant();
    let token = key.sign(&identity::claims(&[tenant.workspace()]));
    assert_accepted(&tenant, &token).await;
    drop(provider);
    assert_accepted(&tenant, &token).await;
    let unknown = key.sign_as(Some("unknown"), &identity::claims(&[tenant.workspace()]));
    assert_refused(&tenant, &unknown).await;
    assert_accepted(&tenant, &token).await;
}

#[tokio::test]
async fn a_key_set_needs_issuer_and_audience() {
    let file = write(&key_set(&[&key("1")]));
    let path = file.path().to_str().unwrap();
    let bare = || Launch::new().without_secret().flag("--jwks", path);
    for launch in [bare(), bare().flag("--issuer", ISSUER), bare().flag("--audience", AUDIENCE)] {
        let ended = launch.run().await;
        assert!(!ended.status.success());
        let said = &ended.stderr;
        assert!(said.contains("--issuer") || said.contains("--audience"), "{said}");
        assert_eq!(ended.stdout, "");
    }
}

#[tokio::test]
async fn a_key_set_file_without_usable_keys_refuses_to_start() {
    for document in ["", "{", "[]", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#] {
        let file = write(document);
        let path = file.path().to_str().unwrap();
        let ended = provider_flags(Launch::new(), path).run().await;
        assert!(!ended.status.success(), "{document}");
        assert!(!ended.stderr.is_empty() && ended.stdout.is_empty(), "{document}: {ended}");
    }
    let ended = provider_flags(Launch::new(), "/nowhere/keys.json").run().await;
    assert!(!ended.status.success());
    assert!(ended.stderr.contains("/nowhere/keys.json"), "{ended}");
}

fn key(id: &str) -> SigningKey {
    SigningKey::new(Algorithm::ES256, id)
}

async fn start_with_file(key_set: &str) -> (Server, NamedTempFile) {
    let file = write(key_set);
    let launch = provider_flags(Launch::new(), file.path().to_str().unwrap());
    (launch.start().await, file)
}

async fn start_with_url(provider: &Toy) -> Server {
    let url = format!("http://{}/keys", provider.address());
    provider_flags(Launch::new(), &url).start().await
}

fn provider_flags(launch: Launch, key_set: &str) -> Launch {
    let launch = launch.without_secret().flag("--jwks", key_set);
    launch.flag("--issuer", ISSUER).flag("--audience", AUDIENCE)
}

fn write(text: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

async fn assert_accepted(tenant: &Tenant, token: &str) {
    tenant.with_credential(token).request("GET").send().await.expect(200);
}

async fn assert_refused(tenant: &Tenant, token: &str) {
    let answer = tenant.with_credential(token).request("GET").send().await.expect_problem(401);
    let challenge = r#"Bearer realm="keyward", error="invalid_token""#;
    assert_eq!(answer.header("www-authenticate"), challenge);
}
