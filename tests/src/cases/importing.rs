//! Taking over the records of another store.

use std::sync::Arc;

use keyward_core::key::{ApiKey, KeyName};
use keyward_core::store::{Imported, KeyStore, StoreError, StoredKey, Unique};
use keyward_core::verify::Refusal;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::records::{
    Calls as _, MORNING, Sample, at, create_all, in_id_order, in_list_order, list_all, sample,
    samples, scan_all, workspace,
};
use crate::service::{Answer, Service};

/// A little after the samples were made.
const NOON: i64 = MORNING + 9_000_000_001;

const ADDED: Imported = Imported { added: 1, changed: 0, unchanged: 0 };
const REVOKED: Imported = Imported { added: 0, changed: 1, unchanged: 0 };
const UNCHANGED: Imported = Imported { added: 0, changed: 0, unchanged: 1 };

pub async fn imported_records_are_found_got_and_listed(store: Arc<dyn KeyStore>) {
    let (ours, theirs) = (workspace(), workspace());
    let mut all = [samples(ours, 20), samples(theirs, 10)].concat();
    for sample in all.iter_mut().step_by(3) {
        sample.key.revoke(at(NOON));
    }
    all[1].key.named_scopes = Some("a b".split(' ').map(|s| s.parse().unwrap()).collect());
    // What is there already stays in its place among them.
    create_all(&store, &all[5..8]).await;
    let imported = import(&*store, &all).await.unwrap();
    assert_eq!(imported, Imported { added: 27, changed: 0, unchanged: 3 });
    for sample in &all {
        assert_is_stored(&*store, sample).await;
        assert_eq!(store.get(workspace(), sample.key.id).await.unwrap(), None);
    }
    assert_eq!(list_all(&*store, ours, 7).await, in_list_order(&all[..20]));
    assert_eq!(list_all(&*store, theirs, 7).await, in_list_order(&all[20..]));
    assert_eq!(scan_all(&*store, 7).await, in_id_order(&all));
}

pub async fn importing_again_changes_nothing(store: Arc<dyn KeyStore>) {
    let mut sample = sample(workspace());
    for first in [ADDED, REVOKED] {
        assert_eq!(import_one(&*store, &sample).await, first);
        for _ in 0..3 {
            assert_eq!(import_one(&*store, &sample).await, UNCHANGED);
            assert_is_stored(&*store, &sample).await;
        }
        sample.key.revoke(at(NOON));
    }
}

pub async fn a_key_revoked_at_the_source_becomes_revoked(store: Arc<dyn KeyStore>) {
    let (mut sample, neighbour) = (sample(workspace()), sample(workspace()));
    create_all(&store, &[sample.clone(), neighbour.clone()]).await;
    sample.key.revoke(at(NOON));
    assert_eq!(import_one(&*store, &sample).await, REVOKED);
    assert_is_stored(&*store, &sample).await;
    assert_is_stored(&*store, &neighbour).await;
    // The revocation that came with the import is the one transition.
    assert_eq!(revoke(&*store, &sample, NOON + 1).await, sample.key);
}

pub async fn a_key_revoked_here_stays_revoked(store: Arc<dyn KeyStore>) {
    let active = sample(workspace());
    active.create(&*store).await;
    let revoked = Sample { key: revoke(&*store, &active, NOON).await, ..active.clone() };
    assert_eq!(import_one(&*store, &active).await, UNCHANGED);
    assert_is_stored(&*store, &revoked).await;
}

pub async fn a_key_revoked_in_both_keeps_its_time_here(store: Arc<dyn KeyStore>) {
    let active = sample(workspace());
    active.create(&*store).await;
    let here = Sample { key: revoke(&*store, &active, NOON).await, ..active.clone() };
    for time in [NOON - 1, NOON + 1] {
        let mut there = active.clone();
        there.key.revoke(at(time));
        assert_eq!(import_one(&*store, &there).await, UNCHANGED);
        assert_is_stored(&*store, &here).await;
    }
}

pub async fn a_different_key_under_a_taken_id_is_refused_with_all_beside_it(
    store: Arc<dyn KeyStore>,
) {
    let known = sample(workspace());
    known.create(&*store).await;
    let with = |key| Sample { key, ..known.clone() };
    let name = KeyName::new("another").unwrap();
    let different = [
        Sample { digest: sample(workspace()).digest, ..known.clone() },
        with(ApiKey { workspace_id: workspace(), ..known.key.clone() }),
        with(ApiKey { name, ..known.key.clone() }),
        with(ApiKey { created_at: at(NOON), ..known.key.clone() }),
        with(ApiKey { named_scopes: Some(std::iter::empty().collect()), ..known.key.clone() }),
    ];
    for other in different {
        assert_refused_whole(&store, &known, &other, Unique::Id).await;
    }
}

pub async fn a_digest_under_another_id_is_refused_with_all_beside_it(store: Arc<dyn KeyStore>) {
    let known = sample(workspace());
    known.create(&*store).await;
    let other = Sample { digest: known.digest, ..sample(known.key.workspace_id) };
    assert_refused_whole(&store, &known, &other, Unique::Digest).await;
}

pub async fn nothing_to_import_changes_nothing(store: Arc<dyn KeyStore>) {
    assert_eq!(store.import(&[]).await.unwrap(), Imported::default());
    assert_eq!(scan_all(&*store, 10).await, []);
}

pub async fn five_thousand_records_are_imported_in_one_call(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let samples = samples(workspace, 5_000);
    let imported = import(&*store, &samples).await.unwrap();
    assert_eq!(imported, Imported { added: 5_000, changed: 0, unchanged: 0 });
    assert_eq!(list_all(&*store, workspace, 1_000).await, in_list_order(&samples));
    assert_eq!(scan_all(&*store, 1_000).await, in_id_order(&samples));
}

/// Two copies at once, or one beside a copy that was taken for dead.
pub async fn racing_imports_of_the_same_records_add_each_once(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let all = samples(workspace, 60);
    let start = Arc::new(Barrier::new(3));
    let mut race = JoinSet::new();
    // Each has most records in common with the others, and in another order.
    for part in [0..40, 20..60, 10..50] {
        let (store, start) = (Arc::clone(&store), Arc::clone(&start));
        let mut part = all[part].to_vec();
        if race.len() == 1 {
            part.reverse();
        }
        race.spawn(async move {
            start.wait().await;
            import(&*store, &part).await.unwrap()
        });
    }
    let mut imported = Imported::default();
    race.join_all().await.into_iter().for_each(|one| imported += one);
    assert_eq!(imported, Imported { added: 60, changed: 0, unchanged: 60 });
    assert_eq!(list_all(&*store, workspace, 64).await, in_list_order(&all));
}

pub async fn an_imported_key_is_accepted_and_an_imported_revoked_key_refused(
    store: Arc<dyn KeyStore>,
) {
    let service = Service::over(Arc::clone(&store), 100, 100).await;
    let (good, mut bad) = (sample(workspace()), sample(workspace()));
    bad.key.revoke(at(NOON));
    let unknown = Answer::Refused(Refusal::Unknown);
    assert_eq!(service.verify(&good.plain).await.unwrap(), unknown);
    import(&*store, [&good, &bad]).await.unwrap();
    assert_eq!(service.verify(&good.plain).await.unwrap(), Answer::Accepted);
    let revoked = Answer::Refused(Refusal::Revoked);
    assert_eq!(service.verify(&bad.plain).await.unwrap(), revoked);
}

/// Importing `other` is refused as a conflict of `unique`, and so are the records before and behind
/// it; `known`, with which it meets, stays as it is.
async fn assert_refused_whole(
    store: &Arc<dyn KeyStore>,
    known: &Sample,
    other: &Sample,
    unique: Unique,
) {
    let before = scan_all(&**store, 10).await;
    for beside in [sample(workspace()), sample(known.key.workspace_id)] {
        for batch in [[&beside, other], [other, &beside]] {
            let outcome = import(&**store, batch).await;
            let Err(StoreError::Conflict(shared)) = outcome else { panic!("{outcome:?}") };
            assert_eq!(shared, unique);
            assert_eq!(scan_all(&**store, 10).await, before);
            assert_eq!(store.find(&beside.digest).await.unwrap(), None);
            assert!(!list_all(&**store, beside.key.workspace_id, 10).await.contains(&beside.key));
        }
    }
    assert_is_stored(&**store, known).await;
}

async fn import<'a>(
    store: &dyn KeyStore,
    samples: impl IntoIterator<Item = &'a Sample>,
) -> Result<Imported, StoreError> {
    let records: Vec<StoredKey> = samples.into_iter().map(Sample::stored).collect();
    store.import(&records).await
}

async fn import_one(store: &dyn KeyStore, sample: &Sample) -> Imported {
    import(store, [sample]).await.expect("the record is taken")
}

async fn revoke(store: &dyn KeyStore, sample: &Sample, time: i64) -> ApiKey {
    let outcome = store.revoke(sample.key.workspace_id, sample.key.id, at(time)).await;
    outcome.unwrap().expect("the record is there")
}

/// Every way to the record of `sample` shows it as it is.
async fn assert_is_stored(store: &dyn KeyStore, sample: &Sample) {
    let Sample { key, digest, .. } = sample;
    assert_eq!(store.get(key.workspace_id, key.id).await.unwrap(), Some(sample.stored()));
    assert_eq!(store.find(digest).await.unwrap().as_ref(), Some(key));
}
