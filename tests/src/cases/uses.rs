//! When keys were last used.

use std::slice;
use std::sync::Arc;

use keyward_core::clock::Timestamp;
use keyward_core::store::{KeyPlace, KeyStore, Use};
use tokio::task::JoinSet;

use crate::drivers::Driver;
use crate::records::{
    MORNING, Sample, at, create_all, in_list_order, list_all, sample, sample_at, samples, scan_all,
    workspace,
};

pub async fn the_last_use_of_a_key_is_noted_and_told(store: Arc<dyn KeyStore>) {
    let (used, unused) = (sample(workspace()), sample(workspace()));
    create_all(&store, &[used.clone(), unused.clone()]).await;
    let keys = [place(&used), place(&unused)];
    assert_eq!(store.last_uses(&keys).await.unwrap(), [None, None]);
    note(&*store, &[(&used, MORNING + 1)]).await;
    let last = store.last_uses(&keys).await.unwrap();
    assert_eq!(last, [Some(at(MORNING + 1)), None]);
    assert_eq!(store.last_uses(&[]).await.unwrap(), []);
}

pub async fn the_later_use_stays_whichever_comes_first(store: Arc<dyn KeyStore>) {
    let sample = sample(workspace());
    sample.create(&*store).await;
    for (noted, last) in [(5, 5), (7, 7), (6, 7), (7, 7), (-1, 7), (0, 7), (8, 8)] {
        note(&*store, &[(&sample, noted)]).await;
        assert_eq!(last_use(&*store, &sample).await, Some(at(last)), "{noted}");
    }
}

pub async fn racing_notes_keep_the_latest_of_each_key(store: Arc<dyn KeyStore>) {
    let samples = samples(workspace(), 40);
    create_all(&store, &samples).await;
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let (store, mut samples) = (Arc::clone(&store), samples.clone());
        // Each has an order of its own, and is the latest for some.
        samples.rotate_left(writer * 5);
        writers.spawn(async move {
            for round in 0..5 {
                let time = |n: usize| MORNING + round + i64::try_from(n).unwrap();
                let uses: Vec<_> = samples.iter().zip(0..).map(|(it, n)| (it, time(n))).collect();
                note(&*store, &uses).await;
            }
        });
    }
    writers.join_all().await;
    for (n, sample) in samples.iter().enumerate() {
        // What the writer that had it farthest behind wrote in its last round.
        let farthest = (0..8).map(|writer| (n + 40 - writer * 5) % 40).max().unwrap();
        let latest = MORNING + 4 + i64::try_from(farthest).unwrap();
        assert_eq!(last_use(&*store, sample).await, Some(at(latest)), "{n}");
    }
}

pub async fn a_use_changes_no_record(store: Arc<dyn KeyStore>) {
    let samples = samples(workspace(), 3);
    create_all(&store, &samples).await;
    let before = scan_all(&*store, 10).await;
    let mark = match store.feed() {
        Some(feed) => Some(feed.poll(None).await.unwrap().newest),
        None => None,
    };
    note(&*store, &[(&samples[0], MORNING + 9), (&samples[1], MORNING + 10)]).await;
    assert_eq!(scan_all(&*store, 10).await, before);
    let listed = list_all(&*store, samples[0].key.workspace_id, 2).await;
    assert_eq!(listed, in_list_order(&samples));
    if let (Some(feed), Some(mark)) = (store.feed(), mark) {
        assert_eq!(feed.poll(None).await.unwrap().newest, mark);
    }
}

pub async fn a_use_is_not_told_of_in_another_workspace(store: Arc<dyn KeyStore>) {
    let (ours, theirs) = (sample(workspace()), sample(workspace()));
    create_all(&store, &[ours.clone(), theirs.clone()]).await;
    note(&*store, &[(&ours, MORNING + 1)]).await;
    let strayed = KeyPlace { workspace: theirs.key.workspace_id, ..place(&ours) };
    assert_eq!(store.last_uses(&[strayed]).await.unwrap(), [None]);
    // Nor is it one of ours that is noted there.
    let noted = Use { key: strayed, at: at(MORNING + 9) };
    store.record_uses(&[noted]).await.unwrap();
    assert_eq!(last_use(&*store, &ours).await, Some(at(MORNING + 1)));
    assert_eq!(last_use(&*store, &theirs).await, None);
}

pub async fn a_use_of_what_is_not_there_harms_nothing(store: Arc<dyn KeyStore>) {
    let (known, unknown) = (sample(workspace()), sample(workspace()));
    known.create(&*store).await;
    note(&*store, &[(&unknown, MORNING), (&known, MORNING + 1)]).await;
    assert_eq!(last_use(&*store, &known).await, Some(at(MORNING + 1)));
    assert_eq!(scan_all(&*store, 10).await, [known.stored()]);
    note(&*store, &[]).await;
}

pub async fn last_uses_stand_in_the_order_of_the_keys(store: Arc<dyn KeyStore>) {
    let (ours, theirs) = (workspace(), workspace());
    let mut samples = [samples(ours, 60), samples(theirs, 60)].concat();
    // Some at one time, so that their ids alone tell them apart.
    samples.extend((0..20).map(|_| sample_at(ours, at(MORNING))));
    create_all(&store, &samples).await;
    let time = |n: usize| MORNING + i64::try_from(n).unwrap();
    let is_used = |n: usize| n.is_multiple_of(3) || (30..50).contains(&n);
    let uses: Vec<_> = samples
        .iter()
        .enumerate()
        .filter(|(n, _)| is_used(*n))
        .map(|(n, it)| (it, time(n)))
        .collect();
    note(&*store, &uses).await;
    let last = |n: usize| is_used(n).then(|| at(time(n)));
    for step in [1, 2, 7, 33, 71, 139] {
        let asked: Vec<usize> = (0..samples.len()).map(|n| n * step % samples.len()).collect();
        let keys: Vec<KeyPlace> = asked.iter().map(|n| place(&samples[*n])).collect();
        let expected: Vec<_> = asked.iter().map(|n| last(*n)).collect();
        assert_eq!(store.last_uses(&keys).await.unwrap(), expected, "{step}");
    }
}

pub async fn thousands_of_uses_are_noted_and_told_at_once(store: Arc<dyn KeyStore>) {
    let samples = samples(workspace(), 5_000);
    let records: Vec<_> = samples.iter().map(Sample::stored).collect();
    store.import(&records).await.unwrap();
    let uses: Vec<_> = samples.iter().zip(0..).map(|(it, n)| (it, MORNING + n)).collect();
    note(&*store, &uses).await;
    let keys: Vec<KeyPlace> = samples.iter().map(place).collect();
    let last = store.last_uses(&keys).await.unwrap();
    assert!(last.iter().zip(0..).all(|(last, n)| *last == Some(at(MORNING + n))));
}

pub async fn a_sealed_store_notes_uses(store: Arc<dyn KeyStore>) {
    let sample = sample(workspace());
    sample.create(&*store).await;
    store.seal(true).await.unwrap();
    note(&*store, &[(&sample, MORNING + 1)]).await;
    assert_eq!(last_use(&*store, &sample).await, Some(at(MORNING + 1)));
}

pub async fn a_closed_store_notes_no_uses(store: Arc<dyn KeyStore>) {
    let sample = sample(workspace());
    store.close().await.unwrap();
    let noted = Use { key: place(&sample), at: at(MORNING) };
    assert!(store.record_uses(&[noted]).await.is_err());
    assert!(store.last_uses(&[place(&sample)]).await.is_err());
}

pub async fn reopening_keeps_when_keys_were_used(driver: impl Driver) {
    let samples = samples(workspace(), 10);
    let store = driver.open().await;
    create_all(&store, &samples).await;
    note(&*store, &[(&samples[3], MORNING + 7)]).await;
    store.close().await.unwrap();
    drop(store);
    let store = driver.open().await;
    for (n, sample) in samples.iter().enumerate() {
        let expected = (n == 3).then(|| at(MORNING + 7));
        assert_eq!(last_use(&*store, sample).await, expected, "{n}");
    }
    note(&*store, &[(&samples[3], MORNING + 6)]).await;
    assert_eq!(last_use(&*store, &samples[3]).await, Some(at(MORNING + 7)));
    store.close().await.unwrap();
}

fn place(sample: &Sample) -> KeyPlace {
    (&sample.key).into()
}

async fn last_use(store: &dyn KeyStore, sample: &Sample) -> Option<Timestamp> {
    let last = store.last_uses(slice::from_ref(&place(sample))).await;
    last.expect("the store tells")[0]
}

async fn note(store: &dyn KeyStore, uses: &[(&Sample, i64)]) {
    let uses: Vec<Use> =
        uses.iter().map(|(sample, time)| Use { key: place(sample), at: at(*time) }).collect();
    store.record_uses(&uses).await.expect("the store notes uses");
}
