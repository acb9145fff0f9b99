//! The public keys of an identity provider (a JWK set, RFC 7517).

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations,
    PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
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
        let key = DecodingKey::from_jwk(&jwk).ok()?;
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

/// Whether what the key says of its own purpose, where it says anything, allows this one.
fn may_verify(key: &CommonParameters, algorithm: Algorithm) -> bool {
    let its_use = key.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature);
    let operations =
        key.key_operations.as_ref().is_none_or(|them| them.contains(&KeyOperations::Verify));
    let its_algorithm = key.key_algorithm.is_none_or(|it| it == KeyAlgorithm::from(algorithm));
    its_use && operations && its_algorithm
}
