//! An identity provider: keys made for the test, the set that publishes them, and tokens.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::tokens;

/// The `iss` of the identity provider's tokens.
pub const ISSUER: &str = "https://identity.example";
/// The `aud` of tokens that are meant for Keyward.
pub const AUDIENCE: &str = "https://keys.example";

/// A key that tokens are signed with.
pub struct SigningKey {
    id: String,
    algorithm: Algorithm,
    private: EncodingKey,
}

impl SigningKey {
    /// A new key for `RS256`, `ES256` or `EdDSA`, with this `kid`.
    pub fn new(algorithm: Algorithm, id: &str) -> Self {
        let private = match algorithm {
            Algorithm::RS256 => rsa(),
            Algorithm::ES256 => ecdsa(),
            Algorithm::EdDSA => eddsa(),
            other => panic!("no key is made for {other:?}"),
        };
        Self { id: id.into(), algorithm, private }
    }

    /// The public half, as it is published.
    pub fn public(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.private, self.algorithm).expect("the key is good");
        let mut jwk = serde_json::to_value(jwk).expect("a key can be written");
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        jwk
    }

    /// A token signed with this key.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(Some(&self.id), claims)
    }

    /// A token signed with this key, whose header names another or none.
    pub fn sign_as(&self, id: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: id.map(Into::into), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.private).expect("claims are JSON")
    }
}

/// The set that publishes these keys.
pub fn key_set(keys: &[&SigningKey]) -> String {
    json!({ "keys": keys.iter().map(|key| key.public()).collect::<Vec<_>>() }).to_string()
}

/// The claims of a good token of this identity provider.
pub fn claims(workspaces: &[Uuid]) -> Value {
    let claims = tokens::with(tokens::claims(workspaces), "iss", ISSUER);
    tokens::with(claims, "aud", AUDIENCE)
}

fn rsa() -> EncodingKey {
    let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).expect("there is randomness");
    let der: Pkcs8V1Der = pair.as_der().expect("a new key can be written");
    let body = STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    EncodingKey::from_rsa_pem(pem.as_bytes()).expect("the key was just written")
}

fn ecdsa() -> EncodingKey {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let pair = pair.expect("there is randomness");
    EncodingKey::from_ec_der(pair.to_pkcs8v1().expect("a new key can be written").as_ref())
}

fn eddsa() -> EncodingKey {
    let pair = Ed25519KeyPair::generate().expect("there is randomness");
    EncodingKey::from_ed_der(pair.to_pkcs8v1().expect("a new key can be written").as_ref())
}
