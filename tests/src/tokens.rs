//! Callers' tokens, good and bad.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use keyward_core::clock::{Clock as _, Entropy as _, SystemClock, SystemEntropy};
use serde_json::{Value, json};
use uuid::Uuid;

/// The account that tokens are made for.
pub const ACCOUNT: &str = "770e8400-e29b-41d4-a716-446655440000";
/// Every scope that Keyward knows.
pub const ALL_SCOPES: &str = "api_keys:read api_keys:write";

/// Bytes that nobody can guess.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemEntropy.fill(&mut bytes).expect("the system has randomness");
    bytes
}

/// A secret of 64 hexadecimal digits, for one server. It never looks like a flag.
pub fn random_secret() -> String {
    random::<32>().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Seconds since 1970.
pub fn now() -> i64 {
    SystemClock.now().as_micros() / 1_000_000
}

/// The claims of a token with all scopes in these workspaces, good for a while.
pub fn claims(workspaces: &[Uuid]) -> Value {
    json!({
        "iss": "keyward",
        "aud": "keyward",
        "sub": ACCOUNT,
        "scope": ALL_SCOPES,
        "workspaces": workspaces,
        "iat": now(),
        "exp": now() + 3600,
    })
}

/// `claims` with one of them replaced, or taken away where `value` is null.
pub fn with(mut claims: Value, name: &str, value: impl Into<Value>) -> Value {
    let members = claims.as_object_mut().expect("claims are an object");
    match value.into() {
        Value::Null => members.remove(name),
        value => members.insert(name.into(), value),
    };
    claims
}

/// A token signed with a shared secret.
pub fn hs256(secret: &str, claims: &Value) -> String {
    hmac(Algorithm::HS256, secret, claims)
}

/// A token signed with a shared secret and this algorithm of the HMAC family.
pub fn hmac(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).expect("claims are JSON")
}

/// A token that nobody signed.
pub fn unsigned(claims: &Value) -> String {
    let header = json!({ "alg": "none", "typ": "JWT" });
    format!("{}.{}.", base64url(header.to_string()), base64url(claims.to_string()))
}

/// Base64 for URLs, without padding, as tokens and key sets have it.
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
