//! What clients know of keys: what they were answered before something failed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::tenant::{KeyObject, Tenant, parse};

/// What a client knows of a key whose creation was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nobody asked for its revocation.
    Active,
    /// Its revocation was asked for and not answered.
    AskedFor,
    /// Its revocation was answered.
    Revoked,
}

/// The keys whose creation was answered.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Vec<(KeyObject, Known)>>>);

impl Ledger {
    /// Creates a key and, if it is to, revokes it; notes what is answered. Ends early where the
    /// server says that it cannot, or says nothing any more.
    pub async fn create_and_maybe_revoke(&self, tenant: &Tenant, revoke: bool) {
        let request = tenant.request("POST").json(r#"{"name":"a"}"#);
        let Ok(answer) = request.try_send().await else { return };
        if answer.status == 503 {
            return;
        }
        let key: KeyObject = parse(&answer.expect(201));
        let at = self.note(key.clone());
        if revoke {
            self.set(at, Known::AskedFor);
            let request = tenant.client().delete(&tenant.key_path(key.id)).bearer(tenant.token());
            let Ok(answer) = request.try_send().await else { return };
            if answer.status == 503 {
                return;
            }
            answer.expect(200);
            self.set(at, Known::Revoked);
        }
    }

    /// How many creations were answered.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All that is known.
    pub fn entries(&self) -> Vec<(KeyObject, Known)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, key: KeyObject) -> usize {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.push((key, Known::Active));
        known.len() - 1
    }

    fn set(&self, at: usize, state: Known) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[at].1 = state;
    }
}

/// Verification and forward-auth say of the key what the client was told of it.
pub async fn check(tenant: &Tenant, key: &KeyObject, state: Known) {
    let verdict = tenant.verdict(key.raw()).await;
    match state {
        Known::Active => assert_eq!(verdict, "valid", "its creation was answered"),
        Known::Revoked => assert_eq!(verdict, "revoked", "its revocation was answered"),
        Known::AskedFor => assert!(verdict == "valid" || verdict == "revoked", "{verdict}"),
    }
    let status = if verdict == "valid" { 200 } else { 401 };
    assert_eq!(tenant.auth(key.raw()).await, status);
}

/// The list has every key whose creation was answered, once, and in the state that verification
/// finds it in.
pub async fn check_list<'k>(
    tenant: &Tenant,
    known: impl IntoIterator<Item = &'k (KeyObject, Known)>,
) {
    let list = tenant.list().await;
    let listed: HashMap<Uuid, &KeyObject> = list.iter().map(|key| (key.id, key)).collect();
    assert_eq!(listed.len(), list.len(), "a key is listed twice");
    assert!(list.is_sorted_by_key(KeyObject::place));
    for (key, state) in known {
        let listed = listed.get(&key.id).unwrap_or_else(|| panic!("{} is not listed", key.id));
        let expected = match state {
            Known::Active => "active",
            Known::AskedFor if tenant.verdict(key.raw()).await == "valid" => "active",
            Known::AskedFor | Known::Revoked => "revoked",
        };
        assert_eq!(listed.status, expected);
        let unchanged = KeyObject {
            status: listed.status.clone(),
            updated_at: listed.updated_at.clone(),
            ..key.clone().without_raw()
        };
        assert_eq!(**listed, unchanged);
    }
}
