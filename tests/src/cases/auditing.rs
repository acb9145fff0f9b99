//! The audit trail.

use std::sync::Arc;
use std::time::Duration;

use keyward_core::audit::{
    Action, AuditKey, Event, EventPosition, Fault, Findings, Link, NewLink, Origin, Recorded,
    Sealed, Sealer, Trace, verify,
};
use keyward_core::change::{Change, Edit};
use keyward_core::details::{Reason, Revocation};
use keyward_core::id::WorkspaceId;
use keyward_core::key::KeyName;
use keyward_core::memory::MemoryStore;
use keyward_core::scope::Scopes;
use keyward_core::store::{Added, Addition, KeyStore, StoreError};
use tokio::task::JoinSet;

use super::changing::{edit, rotation};
use crate::drivers::Driver;
use crate::records::{
    MORNING, Sample, at, create_all, id, sample, sample_at, samples, trace, workspace,
};

fn key() -> AuditKey {
    AuditKey::new(&[7; 32]).expect("the key is long enough")
}

/// What the `n`th event is made of, with everything that can be said.
fn full_trace(n: i64) -> Trace {
    let origin = Origin {
        address: Some("2001:db8::7".parse().expect("an address")),
        user_agent: Some("curl/8.5 \u{1f511}".into()),
        request_id: format!("request-{n}").into(),
    };
    let (account, credential) = (Some(id(77)), Some(id(78)));
    Trace { account, credential, origin, key: Some(key()), ..trace(at(MORNING + n)) }
}

/// Adds the record with an event that is signed.
async fn add(store: &dyn KeyStore, sample: &Sample, trace: &Trace) {
    let addition = Addition { stored: sample.stored(), trace: trace.clone(), once: None };
    assert_eq!(store.add(addition).await.unwrap(), Added::New);
}

/// A store with this many signed events in the workspace, a microsecond apart but for those of one
/// time.
async fn fill(store: &dyn KeyStore, workspace: WorkspaceId, events: i64) {
    for n in 0..events {
        add(store, &sample(workspace), &full_trace(n / 3)).await;
    }
}

/// A store with this many signed events in the workspace that wait to be sealed, wherever events are
/// sealed.
async fn fill_waiting(store: &dyn KeyStore, workspace: WorkspaceId, events: i64) {
    let source = MemoryStore::new();
    fill(&source, workspace, events).await;
    let events = all(&source, workspace, 100).await;
    store.audit().import_events(&events).await.unwrap();
}

/// The events of the workspace, newest first, read in pages of `limit`.
async fn all(store: &dyn KeyStore, workspace: WorkspaceId, limit: usize) -> Vec<Recorded> {
    let mut all: Vec<Recorded> = Vec::new();
    loop {
        let after = all.last().map(|it| EventPosition::from(&it.event));
        let page = store.audit().events(workspace, after, limit).await.unwrap();
        let ended = page.len() < limit;
        all.extend(page);
        if ended {
            return all;
        }
    }
}

async fn seal(store: &dyn KeyStore) -> Result<Sealed, StoreError> {
    Sealer::new(key()).look(store.audit()).await
}

async fn verified(store: &dyn KeyStore, workspace: WorkspaceId) -> Findings {
    verify(store.audit(), &key(), workspace, None).await.unwrap()
}

pub async fn every_change_writes_its_event(store: Arc<dyn KeyStore>) {
    let one = sample(workspace());
    let (workspace, key_id) = (one.key.workspace_id, one.key.id);
    let renamed = Edit { name: Some(KeyName::new("another").unwrap()), ..edit() };
    let narrowed = Edit { scopes: Some(Scopes::default()), ..edit() };
    let rotation = rotation(&one, Duration::from_mins(1));
    let successor = match &rotation {
        Change::Rotate(it) => it.id.to_string(),
        _ => unreachable!("it is a rotation"),
    };
    let reason = Some(Reason::CessationOfOperation);
    let revocation = Revocation { at: at(MORNING + 9), by: None, reason };
    let changes = [
        (Change::Edit(Box::new(renamed)), Action::Renamed, None),
        (Change::Edit(Box::new(narrowed)), Action::Changed, Some("scopes")),
        (rotation, Action::Rotated, Some(&*successor)),
        (Change::Revoke(revocation), Action::Revoked, Some("cessation_of_operation")),
    ];
    let created = full_trace(1);
    add(&*store, &one, &created).await;
    let mut expected = vec![of(&created, &one, Action::Created, None)];
    for (n, (change, action, detail)) in (2..).zip(changes) {
        let trace = full_trace(n);
        store.change(workspace, key_id, &change, &trace).await.unwrap().unwrap();
        expected.insert(0, of(&trace, &one, action, detail));
    }
    let events: Vec<Event> =
        all(&*store, workspace, 10).await.into_iter().map(|it| it.event).collect();
    assert_eq!(events, expected);
}

/// The event that is to be there.
fn of(trace: &Trace, sample: &Sample, action: Action, detail: Option<&str>) -> Event {
    let mut event = Event {
        id: trace.id,
        workspace: sample.key.workspace_id,
        at: trace.at,
        key: sample.key.id,
        action,
        detail: detail.map(Into::into),
        account: trace.account,
        credential: trace.credential,
        origin: trace.origin.clone(),
        tag: None,
    };
    event.tag = trace.key.as_ref().map(|key| key.tag(&event));
    event
}

pub async fn what_changes_nothing_writes_no_event(store: Arc<dyn KeyStore>) {
    let one = sample(workspace());
    let (workspace, key_id) = (one.key.workspace_id, one.key.id);
    one.create(&*store).await;
    let again = Addition { stored: one.stored(), trace: full_trace(1), once: None };
    store.add(again).await.unwrap_err();
    let same = Change::Edit(Box::new(Edit { name: Some(one.key.name.clone()), ..edit() }));
    store.change(workspace, key_id, &same, &full_trace(2)).await.unwrap().unwrap();
    let revoke = Change::Revoke(at(MORNING + 9).into());
    assert_eq!(store.change(workspace, id(404), &revoke, &full_trace(3)).await.unwrap(), None);
    let other = crate::records::workspace();
    assert_eq!(store.change(other, key_id, &revoke, &full_trace(4)).await.unwrap(), None);
    for n in 5..7 {
        store.change(workspace, key_id, &revoke, &full_trace(n)).await.unwrap().unwrap();
    }
    let refused = rotation(&one, Duration::ZERO);
    store.change(workspace, key_id, &refused, &full_trace(8)).await.unwrap().unwrap();
    let actions: Vec<_> =
        all(&*store, workspace, 10).await.iter().map(|it| it.event.action).collect();
    assert_eq!(actions, [Action::Revoked, Action::Created]);
    assert_eq!(all(&*store, other, 10).await, []);
}

pub async fn a_workspace_does_not_see_the_events_of_another(store: Arc<dyn KeyStore>) {
    let (here, there) = (workspace(), workspace());
    fill(&*store, here, 3).await;
    fill(&*store, there, 2).await;
    assert_eq!(all(&*store, here, 10).await.len(), 3);
    assert_eq!(all(&*store, workspace(), 10).await, []);
    seal(&*store).await.unwrap();
    for (workspace, events) in [(here, 3), (there, 2)] {
        let chain = store.audit().chain(workspace, 0, 10).await.unwrap();
        assert!(chain.iter().all(|it| it.event.workspace == workspace));
        assert_eq!(chain.len(), events);
    }
    let mut known = [here, there];
    known.sort();
    assert_eq!(store.audit().workspaces(None, 10).await.unwrap(), known);
    assert_eq!(store.audit().workspaces(None, 1).await.unwrap(), known[..1]);
    assert_eq!(store.audit().workspaces(Some(known[0]), 10).await.unwrap(), known[1..]);
    assert_eq!(store.audit().workspaces(Some(known[1]), 10).await.unwrap(), []);
}

pub async fn every_page_size_gives_the_same_events(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    fill_waiting(&*store, workspace, 20).await;
    let whole = all(&*store, workspace, 100).await;
    assert_eq!(whole.len(), 20);
    assert!(whole.is_sorted_by_key(|it| (std::cmp::Reverse(it.event.at), it.event.id)));
    for limit in [1, 2, 3, 19, 20, 21] {
        assert_eq!(all(&*store, workspace, limit).await, whole);
    }
    // What waits for the sealer is read oldest first.
    for limit in [1, 7, 20] {
        let mut waiting: Vec<Event> = Vec::new();
        loop {
            let after = waiting.last().map(EventPosition::from);
            let page = store.audit().unsealed(after, limit).await.unwrap();
            let ended = page.len() < limit;
            waiting.extend(page);
            if ended {
                break;
            }
        }
        assert!(waiting.is_sorted_by_key(|it| (it.at, it.id)));
        assert_eq!(waiting.len(), 20);
    }
    assert_eq!(store.audit().events(workspace, None, 0).await.unwrap(), []);
}

pub async fn sealed_events_are_a_chain_that_verifies(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    fill_waiting(&*store, workspace, 25).await;
    assert_eq!(store.audit().heads(&[workspace]).await.unwrap(), [None]);
    assert_eq!(seal(&*store).await.unwrap(), Sealed { sealed: 25, forged: 0, refused: 0 });
    assert_eq!(store.audit().unsealed(None, 10).await.unwrap(), []);
    fill_waiting(&*store, workspace, 1).await;
    let found = verified(&*store, workspace).await;
    assert_eq!((found.sealed, found.unsealed, &*found.faults), (25, 1, &[][..]));
    // Whether it is sealed with its change or behind it, the event of a change joins the chain.
    add(&*store, &sample(workspace), &full_trace(100)).await;
    seal(&*store).await.unwrap();
    let found = verified(&*store, workspace).await;
    assert_eq!((found.sealed, found.unsealed, &*found.faults), (27, 0, &[][..]));
    let heads = store.audit().heads(&[crate::records::workspace(), workspace]).await.unwrap();
    assert_eq!(heads, [None, found.head]);
    for limit in [1, 5, 27, 30] {
        let page = store.audit().chain(workspace, 20, limit).await.unwrap();
        let numbers: Vec<u64> = page.iter().filter_map(|it| it.link).map(|it| it.number).collect();
        assert_eq!(numbers, (21..=27).take(limit).collect::<Vec<_>>());
    }
    // The list shows what the chain holds.
    assert!(all(&*store, workspace, 7).await.iter().all(|it| it.link.is_some()));
}

pub async fn racing_sealers_make_one_chain(store: Arc<dyn KeyStore>) {
    let workspaces = [workspace(), workspace(), workspace()];
    let mut work = JoinSet::new();
    for workspace in workspaces {
        let store = Arc::clone(&store);
        work.spawn(async move { fill(&*store, workspace, 40).await });
    }
    for _ in 0..4 {
        let store = Arc::clone(&store);
        work.spawn(async move {
            for _ in 0..20 {
                seal(&*store).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
    }
    work.join_all().await;
    seal(&*store).await.unwrap();
    for workspace in workspaces {
        let found = verified(&*store, workspace).await;
        assert_eq!((found.sealed, found.unsealed, &*found.faults), (40, 0, &[][..]));
    }
}

pub async fn links_that_do_not_fit_are_refused_all_together(store: Arc<dyn KeyStore>) {
    let (here, there) = (workspace(), workspace());
    fill_waiting(&*store, here, 2).await;
    fill_waiting(&*store, there, 1).await;
    let waiting = store.audit().unsealed(None, 10).await.unwrap();
    let link = |event: &Event, number: u64| {
        let hash = [number.to_le_bytes()[0]; 32];
        NewLink { event: event.clone(), link: Link { number, hash } }
    };
    let of = |workspace| waiting.iter().filter(move |it| it.workspace == workspace);
    let (first, second) = (of(here).next().unwrap(), of(here).nth(1).unwrap());
    let other = of(there).next().unwrap();
    let unknown = link(&Event { id: id(404), ..first.clone() }, 1);
    let elsewhere = link(&Event { workspace: there, ..first.clone() }, 1);
    for links in [
        &[link(other, 1), link(first, 2)][..],
        &[link(other, 1), unknown],
        &[link(other, 1), link(first, 1), link(second, 3)],
        &[elsewhere],
    ] {
        assert!(!store.audit().link(links).await.unwrap(), "{links:?}");
    }
    assert_eq!(store.audit().unsealed(None, 10).await.unwrap(), waiting);
    assert_eq!(store.audit().heads(&[here, there]).await.unwrap(), [None, None]);
    assert!(store.audit().link(&[link(first, 1), link(other, 1)]).await.unwrap());
    assert!(!store.audit().link(&[link(first, 2)]).await.unwrap());
    assert!(store.audit().link(&[link(second, 2)]).await.unwrap());
    assert_eq!(store.audit().unsealed(None, 10).await.unwrap(), []);
}

pub async fn events_of_another_store_come_with_their_links(store: Arc<dyn KeyStore>) {
    let source = MemoryStore::new();
    let workspace = workspace();
    fill(&source, workspace, 9).await;
    seal(&source).await.unwrap();
    add(&source, &sample(workspace), &full_trace(50)).await;
    let events = all(&source, workspace, 100).await;
    for _ in 0..2 {
        for page in events.chunks(4) {
            store.audit().import_events(page).await.unwrap();
        }
    }
    assert_eq!(all(&*store, workspace, 100).await, events);
    let heads = source.audit().heads(&[workspace]).await.unwrap();
    assert_eq!(store.audit().heads(&[workspace]).await.unwrap(), heads);
    // The chain goes on where it ended.
    assert_eq!(seal(&*store).await.unwrap(), Sealed { sealed: 1, forged: 0, refused: 0 });
    assert_eq!(verified(&*store, workspace).await.fault_count, 0);
}

pub async fn an_event_that_came_before_it_was_sealed_gets_its_link(store: Arc<dyn KeyStore>) {
    let source = MemoryStore::new();
    let workspace = workspace();
    fill(&source, workspace, 4).await;
    store.audit().import_events(&all(&source, workspace, 100).await).await.unwrap();
    assert!(all(&*store, workspace, 100).await.iter().all(|it| it.link.is_none()));
    seal(&source).await.unwrap();
    let events = all(&source, workspace, 100).await;
    store.audit().import_events(&events).await.unwrap();
    assert_eq!(all(&*store, workspace, 100).await, events);
    assert_eq!(store.audit().unsealed(None, 10).await.unwrap(), []);
    assert_eq!(verified(&*store, workspace).await.fault_count, 0);
    // What is sealed here stays as it is, whatever comes.
    let other = Recorded { link: Some(Link { number: 9, hash: [9; 32] }), ..events[0].clone() };
    store.audit().import_events(&[other]).await.unwrap();
    let kept = all(&*store, workspace, 100).await;
    assert_eq!(kept, events);
}

pub async fn a_sealed_store_takes_no_links_and_no_events(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    fill_waiting(&*store, workspace, 2).await;
    let events = all(&*store, workspace, 10).await;
    store.seal(true).await.unwrap();
    let sealed = seal(&*store).await;
    assert!(matches!(sealed, Err(StoreError::Sealed)), "{sealed:?}");
    let imported = store.audit().import_events(&events).await;
    assert!(matches!(imported, Err(StoreError::Sealed)), "{imported:?}");
    assert_eq!(all(&*store, workspace, 10).await, events);
    store.seal(false).await.unwrap();
    assert_eq!(seal(&*store).await.unwrap(), Sealed { sealed: 2, forged: 0, refused: 0 });
}

pub async fn an_unsigned_event_is_in_no_chain(store: Arc<dyn KeyStore>) {
    let one = sample_at(workspace(), at(MORNING));
    one.create(&*store).await;
    assert_eq!(seal(&*store).await.unwrap(), Sealed::default());
    let found = verified(&*store, one.key.workspace_id).await;
    assert!(matches!(*found.faults, [Fault::Unsigned(..)]), "{found:?}");
}

pub async fn reopening_keeps_events_and_their_links<D: Driver>(driver: D) {
    let store = driver.open().await;
    let workspace = workspace();
    fill(&*store, workspace, 5).await;
    seal(&*store).await.unwrap();
    create_all(&store, &samples(workspace, 1)).await;
    let (events, heads) =
        (all(&*store, workspace, 10).await, store.audit().heads(&[workspace]).await.unwrap());
    store.close().await.unwrap();
    let store = driver.open().await;
    assert_eq!(all(&*store, workspace, 10).await, events);
    assert_eq!(store.audit().heads(&[workspace]).await.unwrap(), heads);
    store.close().await.unwrap();
}
