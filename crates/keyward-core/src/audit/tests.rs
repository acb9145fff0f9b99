use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::change::Change;
use crate::clock::Timestamp;
use crate::details::{Reason, Revocation};
use crate::id::EventId;
use crate::key::{ApiKey, KeyName};
use crate::memory::MemoryStore;
use crate::secret::KeyDigest;
use crate::store::{Addition, KeyStore, StoreError, StoredKey};
use crate::testing::{at_once, key};

fn audit_key(byte: u8) -> AuditKey {
    AuditKey::new(&[byte; 32]).unwrap()
}

fn at(n: u64) -> Timestamp {
    key(1, 1).created_at.plus(Duration::from_secs(n))
}

fn trace(n: u64, key: Option<AuditKey>) -> Trace {
    let origin = Origin {
        address: Some("2001:db8::7".parse().unwrap()),
        user_agent: Some("curl/8".into()),
        request_id: format!("r-{n}").into(),
    };
    let (id, account) = (Uuid::from_u128(n.into()).into(), Some(Uuid::from_u128(77).into()));
    Trace { id, at: at(n), account, credential: None, origin, key }
}

/// A store with this many keys in the workspace, each with an event of its own.
async fn store(events: u64, key_of: Option<AuditKey>) -> MemoryStore {
    let store = MemoryStore::new();
    for n in 1..=events {
        add(&store, n, key_of.clone()).await;
    }
    store
}

async fn add(store: &MemoryStore, n: u64, key_of: Option<AuditKey>) {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&n.to_be_bytes());
    let stored = StoredKey { key: key(1, n.into()), digest: KeyDigest::from_bytes(digest) };
    store.add(Addition { stored, trace: trace(n, key_of), once: None }).await.unwrap();
}

async fn seal(store: &MemoryStore) -> Result<Sealed, StoreError> {
    Sealer::new(audit_key(1)).look(store).await
}

fn workspace() -> WorkspaceId {
    key(1, 1).workspace_id
}

async fn verified(store: &MemoryStore, kept: Option<Link>) -> Findings {
    verify(store, &audit_key(1), workspace(), kept).await.unwrap()
}

/// The events as they are kept, oldest first.
async fn chain(store: &MemoryStore) -> Vec<Recorded> {
    store.chain(workspace(), 0, 1_000).await.unwrap()
}

/// Another store with these events, as somebody would make it who can write to the database.
async fn forged(events: &[Recorded]) -> MemoryStore {
    let store = MemoryStore::new();
    store.import_events(events).await.unwrap();
    store
}

/// A store with 20 sealed events, oldest first, and its newest link.
fn sealed() -> (MemoryStore, Vec<Recorded>, Link) {
    let store = at_once(store(20, Some(audit_key(1))));
    assert_eq!(at_once(seal(&store)).unwrap(), Sealed { sealed: 20, forged: 0, refused: 0 });
    let found = at_once(verified(&store, None));
    assert_eq!((found.sealed, found.unsealed, found.fault_count), (20, 0, 0));
    let events = at_once(chain(&store));
    (store, events, found.head.unwrap())
}

fn faults(events: &[Recorded]) -> Vec<Fault> {
    at_once(async { verified(&forged(events).await, None).await.faults })
}

#[test]
fn what_is_sealed_in_many_pages_verifies_and_the_tail_is_told_apart() {
    let store = at_once(store(2_500, Some(audit_key(1))));
    assert_eq!(at_once(seal(&store)).unwrap(), Sealed { sealed: 2_500, forged: 0, refused: 0 });
    at_once(add(&store, 2_501, Some(audit_key(1))));
    let found = at_once(verified(&store, None));
    assert_eq!((found.sealed, found.unsealed, found.fault_count), (2_500, 1, 0));
    assert_eq!(found.head.unwrap().number, 2_500);
    assert_eq!(at_once(seal(&store)).unwrap(), Sealed { sealed: 1, forged: 0, refused: 0 });
    assert_eq!(at_once(verified(&store, found.head)).faults, []);
}

#[test]
fn an_event_that_was_removed_is_found() {
    let (_, mut events, _) = sealed();
    events.drain(7..9);
    assert_eq!(faults(&events), [Fault::Missing { first: 8, last: 9 }]);
    let (_, mut events, _) = sealed();
    events.remove(0);
    assert_eq!(faults(&events), [Fault::Missing { first: 1, last: 1 }]);
}

#[test]
fn an_event_that_was_changed_is_found_whatever_was_changed() {
    let (_, events, _) = sealed();
    let changes: [fn(&mut Event); 6] = [
        |it| it.at = it.at.plus(Duration::from_micros(1)),
        |it| it.action = Action::Renamed,
        |it| it.account = None,
        |it| it.detail = Some("".into()),
        |it| it.origin.address = None,
        |it| it.origin.user_agent = Some("curl/9".into()),
    ];
    for change in changes {
        let mut events = events.clone();
        change(&mut events[4].event);
        assert_eq!(faults(&events), [Fault::Changed(events[4].event.id)]);
    }
    // Signed with a key that somebody made up.
    let mut events = events.clone();
    events[4].event.account = None;
    events[4].event.tag = Some(audit_key(2).tag(&events[4].event));
    assert_eq!(faults(&events), [Fault::Changed(events[4].event.id), Fault::Unlinked(5)]);
}

#[test]
fn events_that_were_exchanged_are_found() {
    let (_, mut events, _) = sealed();
    let (one, other) = (events[3].link, events[11].link);
    (events[3].link, events[11].link) = (other, one);
    assert_eq!(faults(&events), [Fault::Unlinked(4), Fault::Unlinked(12)]);
}

#[test]
fn an_event_that_was_put_in_is_found() {
    let (store, events, head) = sealed();
    let unsigned = trace(21, None).of_creation(&key(1, 21));
    let signed = trace(22, Some(audit_key(2))).of_creation(&key(1, 22));
    let loose = [unsigned.clone(), signed.clone()];
    let loose = loose.map(|event| Recorded { event, link: None });
    at_once(store.import_events(&loose)).unwrap();
    // The sealer gives it no credit.
    assert_eq!(at_once(seal(&store)).unwrap(), Sealed { sealed: 0, forged: 1, refused: 0 });
    let found = at_once(verified(&store, None));
    let expected = [Fault::Changed(signed.id), Fault::Unsigned(unsigned.id, unsigned.at)];
    assert_eq!((found.sealed, &*found.faults), (20, &expected[..]));
    let link = audit_key(2).link(workspace(), Some(head), signed.tag.unwrap());
    let linked = [events, vec![Recorded { event: signed.clone(), link: Some(link) }]].concat();
    assert_eq!(faults(&linked), [Fault::Changed(signed.id), Fault::Unlinked(21)]);
}

#[test]
fn an_end_that_was_cut_is_found_by_a_link_that_was_kept() {
    let (_, events, head) = sealed();
    let cut = at_once(forged(&events[..15]));
    assert_eq!(at_once(verified(&cut, None)).faults, []);
    assert_eq!(at_once(verified(&cut, Some(head))).faults, [Fault::NotKept(20)]);
    let other = Link { hash: [9; 32], ..head };
    let (store, ..) = sealed();
    assert_eq!(at_once(verified(&store, Some(other))).faults, [Fault::NotKept(20)]);
}

#[test]
fn another_workspace_s_events_are_no_part_of_a_chain() {
    let (_, mut events, _) = sealed();
    for recorded in &mut events {
        recorded.event.workspace = Uuid::from_u128(2).into();
    }
    let moved = at_once(forged(&events));
    let found = at_once(verify(&moved, &audit_key(1), Uuid::from_u128(2).into(), None)).unwrap();
    assert_eq!(found.fault_count, 40);
}

#[test]
fn of_two_sealers_one_does_nothing() {
    let store = at_once(store(3, Some(audit_key(1))));
    let events = at_once(store.unsealed(None, 10)).unwrap();
    let link = audit_key(1).link(workspace(), None, events[0].tag.unwrap());
    let new = NewLink { event: events[0].clone(), link };
    assert!(at_once(store.link(std::slice::from_ref(&new))).unwrap());
    assert!(!at_once(store.link(&[new])).unwrap());
    let gap = Link { number: 3, ..link };
    assert!(!at_once(store.link(&[NewLink { event: events[1].clone(), link: gap }])).unwrap());
}

#[test]
fn a_change_is_told_by_what_it_did() {
    let before = key(1, 1);
    let revoke = |reason| {
        let mut after = before.clone();
        Change::Revoke(Revocation { at: at(1), by: None, reason }).apply(&mut after);
        after
    };
    let renamed = ApiKey { name: KeyName::new("another").unwrap(), ..before.clone() };
    let mut changed = renamed.clone();
    changed.details.expires_at = Some(at(9));
    let mut rotated = revoke(Some(Reason::Superseded));
    rotated.details.rotated_to = Some(Uuid::from_u128(8).into());
    let cases = [
        (revoke(None), Action::Revoked, None),
        (revoke(Some(Reason::KeyCompromise)), Action::Revoked, Some("key_compromise")),
        (renamed, Action::Renamed, None),
        (changed, Action::Changed, Some("name expires_at")),
        (rotated, Action::Rotated, Some("00000000-0000-0000-0000-000000000008")),
    ];
    for (after, action, detail) in cases {
        let event = trace(1, Some(audit_key(1))).of_change(&before, &after).unwrap();
        assert_eq!((event.action, event.detail.as_deref()), (action, detail));
        assert_eq!(event.tag, Some(audit_key(1).tag(&event)));
    }
    assert_eq!(trace(1, None).of_change(&before, &before), None);
}

#[test]
fn the_hash_is_that_of_rfc_4231() {
    // Test cases 6 and 1, the latter's key of 20 bytes padded by nothing but zeros, as HMAC does.
    let long = AuditKey::new(&[0xaa; 131]).unwrap();
    let mac = long.mac(&[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
    assert_eq!(mac[..8], [0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0, 0xb6, 0x7f]);
    let mut padded = [0; 64];
    padded[..20].fill(0x0b);
    let mac = AuditKey::new(&padded).unwrap().mac(&[b"Hi ", b"There"]);
    assert_eq!(mac[..8], [0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53]);
    assert!(AuditKey::new(&[1; 31]).is_err());
    assert_eq!(format!("{long:?}"), "AuditKey(redacted)");
}

#[test]
fn a_link_reads_back_as_it_is_written() {
    let link = Link { number: 12, hash: [0xab; 32] };
    let text = format!("12:{}", "ab".repeat(32));
    assert_eq!(link.to_string(), text);
    assert_eq!(text.parse(), Ok(link));
    let short = &text[..text.len() - 1];
    for bad in ["", "12", "0:", short, &text.replace("12:", "0:"), &text.replace("ab", "xy")] {
        assert_eq!(bad.parse::<Link>(), Err(InvalidLink), "{bad}");
    }
}

fn texts() -> impl Strategy<Value = Option<Box<str>>> {
    proptest::option::of(".{0,20}".prop_map(Into::into))
}

proptest! {
    #[test]
    fn an_event_reads_back_as_it_is_written(
        ids: [[u8; 16]; 3],
        account: Option<[u8; 16]>,
        credential: Option<[u8; 16]>,
        seconds in 0..100_000_u64,
        action in proptest::sample::select(&Action::ALL[..]),
        detail in texts(),
        user_agent in texts(),
        address: Option<std::net::IpAddr>,
        request_id in ".{0,20}",
    ) {
        let event = Event {
            id: EventId::from_bytes(ids[0]),
            workspace: WorkspaceId::from_bytes(ids[1]),
            at: at(seconds),
            key: crate::id::KeyId::from_bytes(ids[2]),
            action,
            detail,
            account: account.map(crate::id::AccountId::from_bytes),
            credential: credential.map(crate::id::KeyId::from_bytes),
            origin: Origin { address, user_agent, request_id: request_id.into() },
            tag: None,
        };
        prop_assert_eq!(Event::decode(&event.encode()), Ok(event));
    }

    #[test]
    fn bytes_that_are_no_event_are_refused(bytes: Vec<u8>, cut in 1..60_usize) {
        prop_assert!(Event::decode(&bytes).is_err());
        let whole = trace(1, None).of_creation(&key(1, 1)).encode();
        prop_assert!(Event::decode(&whole[..whole.len() - cut]).is_err());
        prop_assert!(Event::decode(&[&*whole, &*bytes].concat()).is_ok() == bytes.is_empty());
    }
}
