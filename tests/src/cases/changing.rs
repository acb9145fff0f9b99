//! What may become of a record that is there.

use std::sync::Arc;
use std::time::Duration;

use keyward_core::audit::Origin;
use keyward_core::caller::{Authorised, Caller, Credential};
use keyward_core::change::{Change, Edit, Outcome, Refused, Rotation};
use keyward_core::details::{Description, Details, ExpiryPolicy, Metadata, Reason, Revocation};
use keyward_core::id::WorkspaceId;
use keyward_core::key::{ApiKey, KeyName, Status};
use keyward_core::scope::{Permission, Scopes};
use keyward_core::store::{Changed, Filter, KeyStore, StoreError, StoredKey, Unique};
use tokio::task::JoinSet;

use crate::records::{
    MORNING, Sample, at, create_all, id, in_id_order, list_all, sample, samples, scan_all, trace,
    workspace,
};

/// A little after the samples were made.
const NOON: i64 = MORNING + 9_000_000_001;

pub async fn every_field_that_changes_is_seen_on_every_way(store: Arc<dyn KeyStore>) {
    let (one, neighbour) = (sample(workspace()), sample(workspace()));
    create_all(&store, &[one.clone(), neighbour.clone()]).await;
    let mut expected = one.key.clone();
    for (n, edit) in (1..).zip(edits()) {
        let edit = Edit { at: at(NOON + n), ..edit };
        let outcome = Change::Edit(Box::new(edit.clone())).apply(&mut expected);
        assert_eq!(outcome, Outcome::Changed, "{edit:?}");
        let changed = change(&*store, &one, Change::Edit(Box::new(edit))).await;
        assert_eq!(changed, of(&one, &expected, outcome));
        assert_all_say(&*store, &one, &expected).await;
    }
    assert_all_say(&*store, &neighbour, &neighbour.key).await;
}

pub async fn an_edit_that_changes_nothing_says_so(store: Arc<dyn KeyStore>) {
    let one = sample(workspace());
    one.create(&*store).await;
    let same = Edit { name: Some(one.key.name.clone()), ..edit() };
    for edit in [same, edit()] {
        let changed = change(&*store, &one, Change::Edit(Box::new(edit))).await;
        assert_eq!(changed, of(&one, &one.key, Outcome::Unchanged));
    }
    assert_all_say(&*store, &one, &one.key).await;
}

pub async fn a_revoked_record_is_not_edited_and_not_rotated(store: Arc<dyn KeyStore>) {
    let one = sample(workspace());
    one.create(&*store).await;
    let by = Some(id(5));
    let revocation = Revocation { at: at(NOON), by, reason: Some(Reason::KeyCompromise) };
    let revoked = change(&*store, &one, Change::Revoke(revocation)).await.key;
    assert_eq!(revoked.details.revocation, Some(revocation));
    for refused in [Change::Edit(Box::new(rename())), rotation(&one, Duration::from_secs(9))] {
        let changed = change(&*store, &one, refused).await;
        let outcome = Outcome::Refused(Refused::Revoked);
        assert_eq!(changed, of(&one, &revoked, outcome));
    }
    assert_all_say(&*store, &one, &revoked).await;
}

pub async fn a_rotation_is_one_step(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    for (n, grace) in [(1, Duration::from_mins(1)), (2, Duration::ZERO)] {
        let mut one = sample(workspace);
        one.key.details = Details {
            description: Description::new("for CI").ok(),
            metadata: Metadata::new([("team".into(), "a".into())].into()).unwrap(),
            ..Details::NONE
        }
        .into();
        one.key.named_scopes = Some(Scopes::from_claim("a b"));
        one.create(&*store).await;
        let rotate = rotation(&one, grace);
        let mut expected = one.key.clone();
        let outcome = rotate.apply(&mut expected);
        let Outcome::Succeeded(successor) = &outcome else { panic!("{outcome:?}") };
        assert_eq!(successor.key.details.rotated_from, Some(one.key.id));
        assert_eq!(successor.key.named_scopes, one.key.named_scopes);
        let status = if grace.is_zero() { Status::Revoked } else { Status::Active };
        assert_eq!(expected.status, status);
        let changed = change(&*store, &one, rotate).await;
        assert_eq!(changed, of(&one, &expected, outcome.clone()));
        assert_all_say(&*store, &one, &expected).await;
        let stored = store.get(workspace, successor.key.id).await.unwrap();
        assert_eq!(stored.as_ref(), Some(&**successor));
        assert_eq!(store.find(&successor.digest).await.unwrap().as_ref(), Some(&successor.key));
        assert_eq!(list_all(&*store, workspace, 10).await.len(), 2 * n);

        let again = change(&*store, &one, rotation(&one, grace)).await;
        let refused = if grace.is_zero() { Refused::Revoked } else { Refused::Rotated };
        assert_eq!(again, of(&one, &expected, Outcome::Refused(refused)));
    }
}

pub async fn racing_rotations_of_one_record_have_one_winner(store: Arc<dyn KeyStore>) {
    let one = sample(workspace());
    one.create(&*store).await;
    let mut race = JoinSet::new();
    for _ in 0..8 {
        let (store, one) = (Arc::clone(&store), one.clone());
        race.spawn(async move {
            change(&*store, &one, rotation(&one, Duration::from_mins(1))).await.outcome
        });
    }
    let outcomes = race.join_all().await;
    let won = outcomes.iter().filter(|it| matches!(it, Outcome::Succeeded(_))).count();
    let lost = outcomes.iter().filter(|it| **it == Outcome::Refused(Refused::Rotated)).count();
    assert_eq!((won, lost), (1, 7), "{outcomes:?}");
    assert_eq!(scan_all(&*store, 10).await.len(), 2);
}

pub async fn a_rotation_to_a_taken_id_or_digest_changes_nothing(store: Arc<dyn KeyStore>) {
    let (one, other) = (sample(workspace()), sample(workspace()));
    create_all(&store, &[one.clone(), other.clone()]).await;
    let Change::Rotate(good) = rotation(&one, Duration::from_mins(1)) else { unreachable!() };
    let taken = [
        (Rotation { id: other.key.id, ..*good.clone() }, Unique::Id),
        (Rotation { digest: other.digest, ..*good.clone() }, Unique::Digest),
    ];
    for (rotation, unique) in taken {
        let rotate = Change::Rotate(Box::new(rotation));
        let outcome =
            store.change(one.key.workspace_id, one.key.id, &rotate, &trace(at(NOON))).await;
        let Err(StoreError::Conflict(shared)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(shared, unique);
        assert_eq!(scan_all(&*store, 10).await, in_id_order(&[one.clone(), other.clone()]));
    }
}

pub async fn a_workspace_does_not_change_the_record_of_another(store: Arc<dyn KeyStore>) {
    let one = sample(workspace());
    one.create(&*store).await;
    for wrong in [Change::Edit(Box::new(rename())), rotation(&one, Duration::ZERO)] {
        assert_eq!(
            store.change(workspace(), one.key.id, &wrong, &trace(at(NOON))).await.unwrap(),
            None
        );
        assert_eq!(
            store.change(one.key.workspace_id, id(404), &wrong, &trace(at(NOON))).await.unwrap(),
            None
        );
    }
    assert_eq!(scan_all(&*store, 10).await, in_id_order(&[one]));
}

pub async fn racing_edits_lose_nothing(store: Arc<dyn KeyStore>) {
    let one = sample(workspace());
    one.create(&*store).await;
    let mut race = JoinSet::new();
    for (n, edit) in (1..).zip(edits()) {
        let (store, one) = (Arc::clone(&store), one.clone());
        let edit = Edit { at: at(NOON + n), ..edit };
        race.spawn(async move { change(&*store, &one, Change::Edit(Box::new(edit))).await });
    }
    race.join_all().await;
    let stored = store.get(one.key.workspace_id, one.key.id).await.unwrap().unwrap().key;
    assert_eq!(stored.name.as_str(), "another");
    assert_eq!(stored.named_scopes, Some(Scopes::from_claim("a b")));
    assert_eq!(stored.details.expires_at, Some(at(NOON + 60)));
    assert!(stored.details.description.is_some() && !stored.details.metadata.is_empty());
}

pub async fn a_filter_lets_through_what_it_says(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let mut all = samples(workspace, 60);
    for (n, sample) in all.iter_mut().enumerate() {
        if n % 2 == 0 {
            sample.key.revoke(at(NOON));
        }
        if n % 3 == 0 {
            sample.key.created_by = id(5);
        }
        if n % 5 == 0 {
            sample.key.name = KeyName::new("by name").unwrap();
        }
    }
    let stored: Vec<StoredKey> = all.iter().map(Sample::stored).collect();
    store.import(&stored).await.unwrap();
    let (status, created_by) = (Some(Status::Active), Some(id(5)));
    let name = KeyName::new("by name").ok();
    let filters = [
        Filter::ALL,
        Filter { status, ..Filter::ALL },
        Filter { status: Some(Status::Revoked), ..Filter::ALL },
        Filter { created_by, ..Filter::ALL },
        Filter { name: name.clone(), ..Filter::ALL },
        Filter { status, created_by, name },
        Filter { created_by: Some(id(404)), ..Filter::ALL },
    ];
    let whole = list_all(&*store, workspace, 100).await;
    for filter in filters {
        let expected: Vec<ApiKey> =
            whole.iter().filter(|key| filter.lets_through(key)).cloned().collect();
        for limit in [1, 7, 100] {
            let mut found: Vec<ApiKey> = Vec::new();
            loop {
                let after = found.last().map(Into::into);
                let page = store.list(workspace, &filter, after, limit).await.unwrap();
                let ended = page.len() < limit;
                found.extend(page);
                if ended {
                    break;
                }
            }
            assert_eq!(found, expected, "{filter:?} in pages of {limit}");
        }
        assert_eq!(store.list(self::workspace(), &filter, None, 10).await.unwrap(), []);
    }
}

/// An edit that changes nothing yet, by somebody who may do anything.
pub fn edit() -> Edit {
    Edit::new(caller(workspace()), at(NOON))
}

/// One of each kind, which leave what the others change as it is.
fn edits() -> [Edit; 5] {
    let description = Description::new("for\nCI é").ok();
    let metadata =
        Metadata::new([("a".into(), "é\"\\\n".into()), ("b".into(), String::new())].into());
    [
        rename(),
        Edit { description: Some(description), ..edit() },
        Edit { metadata: metadata.ok(), ..edit() },
        Edit { scopes: Some(Scopes::from_claim("a b")), ..edit() },
        Edit { expires_at: Some(Some(at(NOON + 60))), ..edit() },
    ]
}

fn rename() -> Edit {
    Edit { name: KeyName::new("another").ok(), ..edit() }
}

/// A rotation of the key of `one` by somebody who may.
pub fn rotation(one: &Sample, grace: Duration) -> Change {
    let new = sample(one.key.workspace_id);
    Change::Rotate(Box::new(Rotation {
        at: at(NOON),
        grace,
        by: caller(one.key.workspace_id),
        policy: ExpiryPolicy::default(),
        id: new.key.id,
        digest: new.digest,
        key_prefix: new.key.key_prefix,
    }))
}

fn caller(workspace: WorkspaceId) -> Authorised {
    let caller = Caller {
        account: id(5),
        workspaces: vec![workspace],
        scopes: Scopes::from_claim("api_keys:read api_keys:write"),
        credential: Credential::Token,
        expires_at: None,
        origin: Origin::default(),
    };
    caller.authorise(workspace, Permission::Write).expect("the caller has the scope")
}

/// The record of `sample`, which is `key` after a change.
fn of(sample: &Sample, key: &ApiKey, outcome: Outcome) -> Changed {
    Changed { key: key.clone(), digest: sample.digest, outcome }
}

async fn change(store: &dyn KeyStore, sample: &Sample, change: Change) -> Changed {
    let outcome =
        store.change(sample.key.workspace_id, sample.key.id, &change, &trace(at(NOON))).await;
    outcome.unwrap().expect("the record is there")
}

/// Every way to the record of `sample` shows `expected`.
async fn assert_all_say(store: &dyn KeyStore, sample: &Sample, expected: &ApiKey) {
    let workspace = sample.key.workspace_id;
    let stored = store.get(workspace, sample.key.id).await.unwrap().expect("it is there");
    assert_eq!((&stored.key, stored.digest), (expected, sample.digest));
    assert_eq!(store.find(&sample.digest).await.unwrap().as_ref(), Some(expected));
    assert!(list_all(store, workspace, 64).await.contains(expected));
}
