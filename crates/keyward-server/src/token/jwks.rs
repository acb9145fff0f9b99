//! The public keys of an identity provider (a JWK set, RFC 7517).

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations,
    PublicKeyUse,
};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;

/// Most bytes of a JWK set, lest a wrong address fill the memory.
pub const MAX_LEN: usize = 1024 * 1024;

/// The keys of a set that can verify a token here.
#[derive(Debug)]
pub struct KeySet(Vec<PublicKey>);

#[derive(Debug)]
struct PublicKey {
    kid: Option<String>,
    /// The one algorithm that the key is good for: it follows from the key, never from a token.
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Keys as plain values: one that cannot be read must not spoil the others.
#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a set from its JSON. Keys for other purposes or algorithms are passed over.
    ///
    /// # Errors
    ///
    /// When it is no set, or none of its keys is of use: whoever publishes such has made a mistake,
    /// and to follow it would lock everybody out.
    pub fn parse(json: &[u8]) -> anyhow::Result<Self> {
        let document: Document = serde_json::from_slice(json).context("it is no JWK set")?;
        let keys: Vec<_> = document.keys.into_iter().filter_map(PublicKey::read).collect();
        ensure!(!keys.is_empty(), "it holds no key for RS256, ES256 or EdDSA signatures");
        Ok(Self(keys))
    }

    /// Reads a set from a file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is larger than 1 MiB, or as for [`KeySet::parse`].
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let mut json = Vec::new();
        File::open(path)?.take(MAX_LEN as u64 + 1).read_to_end(&mut json)?;
        ensure!(json.len() <= MAX_LEN, "it is larger than {MAX_LEN} bytes");
        Self::parse(&json)
    }

    /// Whether a key of the set has this id.
    pub fn knows(&self, kid: &str) -> bool {
        self.0.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// The keys that may have signed a token with this `kid` and algorithm: the key of that name,
    /// or all that fit when the token names none.
    pub fn fitting(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &DecodingKey> {
        self.0
            .iter()
            .filter(move |key| kid.is_none() || key.kid.as_deref() == kid)
            .filter(move |key| key.algorithm == algorithm)
            .map(|key| &key.key)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl PublicKey {
    fn read(value: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let algorithm = algorithm_of(&jwk.algorithm)?;
        if !may_verify(&jwk.common, algorithm) {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok().filter(has_its_length)?;
        Some(Self { kid: jwk.common.key_id, algorithm, key })
    }
}

/// The algorithm that a key's type and curve leave open.
fn algorithm_of(parameters: &AlgorithmParameters) -> Option<Algorithm> {
    match parameters {
        AlgorithmParameters::RSA(_) => Some(Algorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Some(Algorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Some(Algorithm::EdDSA)
        }
        _ => None,
    }
}

/// Whether the key is as long as its kind must be. One that is not could never verify anything, and
/// a set of nothing but such is better refused now than wondered at later.
fn has_its_length(key: &DecodingKey) -> bool {
    match (key.family(), key.kind()) {
        // From 2048 bits to 8192, which is what the cryptography library accepts.
        (AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, .. }) => {
            (256..=1024).contains(&n.len())
        }
        // A byte that says "not compressed" and two coordinates.
        (AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(point)) => point.len() == 65,
        (AlgorithmFamily::Ed, DecodingKeyKind::SecretOrDer(point)) => point.len() == 32,
        _ => false,
    }
}

/// Whether what the key says of its own purpose, where it says anything, allows this one.
fn may_verify(key: &CommonParameters, algorithm: Algorithm) -> bool {
    let its_use = key.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature);
    let operations =
        key.key_operations.as_ref().is_none_or(|them| them.contains(&KeyOperations::Verify));
    let its_algorithm = key.key_algorithm.is_none_or(|it| it == KeyAlgorithm::from(algorithm));
    its_use && operations && its_algorithm
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::token::forge::{Provider, Signer, base64url, but, padded};

    fn parse(keys: &[Value]) -> anyhow::Result<KeySet> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn a_key_is_for_one_algorithm() {
        let provider = Provider::shared();
        let set = KeySet::parse(provider.jwks().to_string().as_bytes()).unwrap();
        for (own, algorithm) in
            [("rsa", Algorithm::RS256), ("ec", Algorithm::ES256), ("ed", Algorithm::EdDSA)]
        {
            assert!(set.knows(own));
            assert_eq!(set.fitting(None, algorithm).count(), 1);
            for kid in ["rsa", "ec", "ed"] {
                let expected = usize::from(kid == own);
                assert_eq!(set.fitting(Some(kid), algorithm).count(), expected, "{kid} {own}");
            }
        }
        for algorithm in [Algorithm::HS256, Algorithm::RS384, Algorithm::PS256, Algorithm::ES384] {
            assert_eq!(set.fitting(None, algorithm).count(), 0, "{algorithm:?}");
        }
        assert!(!set.knows("other"));
    }

    #[test]
    fn what_a_key_says_of_its_purpose_holds() {
        for (kid, signer) in Provider::shared().signers() {
            let jwk = signer.jwk(kid);
            for good in [
                json!({ "use": "sig" }),
                json!({ "alg": signer.algorithm() }),
                json!({ "key_ops": ["verify"] }),
                json!({ "kid": null }),
            ] {
                assert_eq!(parse(&[but(jwk.clone(), good)]).unwrap().len(), 1);
            }
            for bad in [
                json!({ "use": "enc" }),
                json!({ "use": "SIG" }),
                json!({ "alg": "HS256" }),
                json!({ "alg": "RS512" }),
                json!({ "alg": "whatever" }),
                json!({ "key_ops": ["encrypt"] }),
                json!({ "key_ops": [] }),
            ] {
                assert!(parse(&[but(jwk.clone(), bad.clone())]).is_err(), "{kid} {bad}");
            }
        }
    }

    #[test]
    fn a_key_of_another_curve_or_type_is_no_key() {
        let provider = Provider::shared();
        let (ec, ed) = (provider.ec.jwk("ec"), provider.ed.jwk("ed"));
        for bad in [
            but(ec.clone(), json!({ "crv": "P-384" })),
            but(ec.clone(), json!({ "crv": "Ed25519" })),
            but(ec.clone(), json!({ "crv": "secp256k1" })),
            but(ec.clone(), json!({ "kty": "oct" })),
            but(ec, json!({ "x": "!" })),
            but(ed.clone(), json!({ "crv": "P-256" })),
            but(ed, json!({ "crv": "X25519" })),
            Signer::secret("a secret that somebody publishes").jwk("oct"),
            json!({}),
            json!(null),
            json!("key"),
        ] {
            assert!(parse(std::slice::from_ref(&bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_that_is_too_short_is_no_key() {
        let provider = Provider::shared();
        let weak = base64url([0xff; 128]);
        assert!(parse(&[but(provider.rsa.jwk("rsa"), json!({ "n": weak }))]).is_err());
        for short in [provider.ec.jwk("ec"), provider.ed.jwk("ed")] {
            assert!(parse(&[but(short, json!({ "x": "AAAA" }))]).is_err());
        }
    }

    #[test]
    fn a_key_that_cannot_be_read_does_not_spoil_the_others() {
        let good = Provider::shared().ec.jwk("ec");
        let set =
            parse(&[json!(null), json!({ "kty": "new", "x": [1] }), json!({}), good]).unwrap();
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn a_document_that_is_no_set_is_refused() {
        for document in ["", "{}", "[]", "null", r#"{"keys":{}}"#, r#"{"keys":[]}"#, "\0", "{"] {
            assert!(KeySet::parse(document.as_bytes()).is_err(), "{document}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(KeySet::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn a_file_that_is_too_large_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let jwks = Provider::shared().jwks().to_string();
        std::fs::write(file.path(), padded(jwks.clone(), MAX_LEN)).unwrap();
        assert!(KeySet::read(file.path()).is_ok());
        std::fs::write(file.path(), padded(jwks, MAX_LEN + 1)).unwrap();
        assert!(KeySet::read(file.path()).unwrap_err().to_string().contains("larger"));
    }
}
