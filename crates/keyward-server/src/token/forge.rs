//! Signs tokens for tests: good ones, and those that no library would sign.
//!
//! Every private key is made for the run and dies with it.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_core::clock::{ManualClock, Timestamp};
use serde_json::{Value, json};

/// The time in these tests, in seconds since 1970.
pub const NOW: i64 = 1_705_311_000;

/// A clock that shows [`NOW`].
pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_micros(NOW * 1_000_000).unwrap()))
}

/// The unpadded base64 of URLs.
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// `text` with spaces after it, `len` bytes in all.
pub fn padded(mut text: String, len: usize) -> String {
    text.extend(std::iter::repeat_n(' ', len - text.len()));
    text
}

/// Whoever signs a token.
pub enum Signer {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Secret(Vec<u8>),
}

impl Signer {
    pub fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().unwrap())
    }

    pub fn secret(secret: impl AsRef<[u8]>) -> Self {
        Self::Secret(secret.as_ref().to_vec())
    }

    /// The algorithm that the key is for.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
            Self::Secret(_) => "HS256",
        }
    }

    /// The public key as a JWK with this name.
    pub fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Rsa(key) => {
                let n = key.public_key().modulus().big_endian_without_leading_zero();
                let e = key.public_key().exponent().big_endian_without_leading_zero();
                json!({ "kty": "RSA", "kid": kid, "n": base64url(n), "e": base64url(e) })
            }
            Self::Ec(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "kid": kid,
                    "x": base64url(x), "y": base64url(y) })
            }
            Self::Ed(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid,
                    "x": base64url(key.public_key()) })
            }
            Self::Secret(secret) => json!({ "kty": "oct", "kid": kid, "k": base64url(secret) }),
        }
    }

    /// The public RSA key as it is published in DER.
    pub fn public_der(&self) -> Vec<u8> {
        let Self::Rsa(key) = self else { panic!("only RSA keys are asked for this") };
        let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
        der.as_ref().to_vec()
    }

    /// A token of this signer that names no key.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({ "alg": self.algorithm(), "typ": "JWT" }), claims)
    }

    /// A token of this signer that names the key `kid`.
    pub fn token_naming(&self, kid: &str, claims: &Value) -> String {
        self.token_with(&json!({ "alg": self.algorithm(), "kid": kid }), claims)
    }

    /// A token with any header at all. The signature follows the signer's key, and for RSA the
    /// header's algorithm too.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message =
            format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
        let signature = self.sign(header["alg"].as_str().unwrap_or_default(), message.as_bytes());
        format!("{message}.{}", base64url(signature))
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Rsa(key) => {
                let encoding: &'static dyn RsaEncoding = match algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "PS256" => &RSA_PSS_SHA256,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
            Self::Ec(key) => key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
            Self::Secret(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&key, message).as_ref().to_vec()
            }
        }
    }
}

/// The identity provider of the tests: one key of each kind, named after it.
pub struct Provider {
    pub rsa: Signer,
    pub ec: Signer,
    pub ed: Signer,
}

impl Provider {
    pub const ISSUER: &str = "https://id.example";
    pub const AUDIENCE: &str = "https://keys.example";

    /// The one of this run: an RSA key takes a while to make.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Provider> = OnceLock::new();
        SHARED.get_or_init(|| Self { rsa: Signer::rsa(), ec: Signer::ec(), ed: Signer::ed() })
    }

    pub fn signers(&self) -> [(&'static str, &Signer); 3] {
        [("rsa", &self.rsa), ("ec", &self.ec), ("ed", &self.ed)]
    }

    /// What it publishes.
    pub fn jwks(&self) -> Value {
        json!({ "keys": self.signers().map(|(kid, signer)| signer.jwk(kid)) })
    }

    /// The claims of a good token of it.
    pub fn claims() -> Value {
        json!({
            "iss": Self::ISSUER,
            "aud": Self::AUDIENCE,
            "sub": "ann",
            "exp": NOW + 60,
            "scope": "api_keys:read orders:read",
            "workspaces": ["660e8400-e29b-41d4-a716-446655440000"],
        })
    }
}

/// `claims` with some of them replaced, or, where the new value is null, left out.
pub fn but(mut claims: Value, changes: Value) -> Value {
    let (Value::Object(into), Value::Object(changes)) = (&mut claims, changes) else {
        panic!("claims are objects");
    };
    for (name, value) in changes {
        if value.is_null() {
            into.remove(&name);
        } else {
            into.insert(name, value);
        }
    }
    claims
}
