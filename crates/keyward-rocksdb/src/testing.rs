//! Records for the tests of this crate.

use keyward_core::audit::{Origin, Trace};
use keyward_core::clock::Timestamp;
use keyward_core::details::{Description, Details, Metadata, Reason, Revocation, SparseDetails};
use keyward_core::id::{AccountId, KeyId, WorkspaceId};
use keyward_core::key::{ApiKey, KeyName, Status};
use keyward_core::scope::{Scope, Scopes};
use keyward_core::secret::{KeyDigest, KeyPrefix};
use keyward_core::store::{Addition, ListPosition, StoredKey};
use proptest::prelude::*;
use uuid::Uuid;

use crate::layout::Place;

/// The `n`th active key of a workspace, made `n` microseconds after a fixed time.
pub fn key(workspace: u128, n: u64) -> ApiKey {
    let at = Timestamp::from_micros(1_705_311_000_000_000 + i64::try_from(n).unwrap()).unwrap();
    ApiKey {
        id: Uuid::from_u128((workspace << 64) | u128::from(n)).into(),
        workspace_id: Uuid::from_u128(workspace).into(),
        name: KeyName::new(&format!("a key {n}")).unwrap(),
        key_prefix: KeyPrefix::from_stored("sk_live_abc1").unwrap(),
        status: Status::Active,
        created_by: Uuid::from_u128(77).into(),
        created_at: at,
        updated_at: at,
        named_scopes: None,
        details: SparseDetails::default(),
    }
}

/// What the `n`th event is made of.
pub fn trace(n: u64) -> Trace {
    let (id, at) = (Uuid::from_u128(n.into()).into(), key(1, n).created_at);
    Trace { id, at, account: None, credential: None, origin: Origin::default(), key: None }
}

/// The addition of a record.
pub fn addition(stored: StoredKey) -> Addition {
    let trace = Trace { id: stored.key.id.as_uuid().into(), ..trace(0) };
    Addition { stored, trace, once: None }
}

/// The digest of that key: as evenly distributed as a real one.
pub fn digest(key: &ApiKey) -> KeyDigest {
    let seed = Uuid::new_v5(&Uuid::NAMESPACE_OID, key.id.as_bytes());
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(seed.as_bytes());
    bytes[16..].copy_from_slice(key.id.as_bytes());
    KeyDigest::from_bytes(bytes)
}

pub fn timestamps() -> impl Strategy<Value = Timestamp> {
    let first = Timestamp::from_micros(-62_167_219_200_000_000).unwrap().as_micros();
    let last = Timestamp::MAX.as_micros();
    let micros = prop_oneof![first..=last, -3..=3_i64, Just(first), Just(last)];
    micros.prop_map(|micros| Timestamp::from_micros(micros).unwrap())
}

pub fn places() -> impl Strategy<Value = Place> {
    (any::<[u8; 16]>(), timestamps(), any::<[u8; 16]>()).prop_map(|(workspace, created_at, id)| {
        let position = ListPosition { created_at, id: KeyId::from_bytes(id) };
        Place::new(WorkspaceId::from_bytes(workspace), position)
    })
}

fn names() -> impl Strategy<Value = KeyName> {
    "\\PC{1,255}".prop_filter_map("not a name", |text| KeyName::new(&text).ok())
}

fn scopes() -> impl Strategy<Value = Scopes> {
    let scope = "[!#-\\[\\]-~]{1,20}".prop_filter_map("not a scope", |text| text.parse().ok());
    prop::collection::vec(scope, 0..40).prop_map(|scopes: Vec<Scope>| scopes.into_iter().collect())
}

fn details() -> impl Strategy<Value = Details> {
    let text = "[a-zé\n]{0,20}";
    let ids = || prop::option::of(any::<[u8; 16]>());
    let reason = prop::option::of(prop::sample::select(Reason::ALL.as_slice()));
    let revocation = (timestamps(), ids(), reason).prop_map(|(at, by, reason)| Revocation {
        at,
        by: by.map(AccountId::from_bytes),
        reason,
    });
    let fields = (
        text,
        prop::collection::btree_map("[a-z]{1,8}", text, 0..5),
        prop::option::of(timestamps()),
        ids(),
        ids(),
        prop::option::of(revocation),
    );
    fields.prop_map(|(text, metadata, expires_at, from, to, revocation)| Details {
        description: Description::new(&text).ok(),
        metadata: Metadata::new(metadata).unwrap(),
        expires_at,
        rotated_from: from.map(KeyId::from_bytes),
        rotated_to: to.map(KeyId::from_bytes),
        revocation,
    })
}

pub fn stored_keys() -> impl Strategy<Value = StoredKey> {
    let fields = (
        places(),
        names(),
        "[a-z_]{1,30}[0-9A-Za-z]{5}",
        any::<(bool, [u8; 16], [u8; 32])>(),
        timestamps(),
        prop::option::of(scopes()),
        prop_oneof![Just(Details::NONE), details()],
    );
    fields.prop_map(
        |(place, name, prefix, (revoked, account, digest), updated_at, scopes, details)| {
            let key = ApiKey {
                id: place.id(),
                workspace_id: place.workspace(),
                name,
                key_prefix: KeyPrefix::from_stored(&prefix).unwrap(),
                status: if revoked { Status::Revoked } else { Status::Active },
                created_by: Uuid::from_bytes(account).into(),
                created_at: place.created_at().unwrap(),
                updated_at,
                named_scopes: scopes,
                details: details.into(),
            };
            StoredKey { key, digest: KeyDigest::from_bytes(digest) }
        },
    )
}
