//! Records for the unit tests of this crate.

use uuid::Uuid;

use crate::clock::{SeededEntropy, Timestamp};
use crate::key::{ApiKey, KeyName, Status};
use crate::secret::KeyFormat;

/// An active key with the id `n`, in the workspace `workspace`.
pub fn key(workspace: u128, n: u128) -> ApiKey {
    let format = KeyFormat::new("sk_live").unwrap();
    let at = Timestamp::from_micros(1_705_311_000_000_000).unwrap();
    ApiKey {
        id: Uuid::from_u128(n).into(),
        workspace_id: Uuid::from_u128(workspace).into(),
        name: KeyName::new("a key").unwrap(),
        key_prefix: format.mint(&SeededEntropy::new(1)).unwrap().key_prefix(),
        status: Status::Active,
        created_by: Uuid::from_u128(77).into(),
        created_at: at,
        updated_at: at,
        named_scopes: None,
    }
}
