//! The order of a list.

use std::sync::Arc;

use keyward_core::clock::Timestamp;
use keyward_core::store::{Filter, KeyStore};

use super::values::EARLIEST;
use crate::records::{
    Calls as _, MORNING, Sample, at, create_all, id, in_list_order, list_all, sample_at, samples,
    workspace,
};

pub async fn the_list_is_newest_first(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let samples = samples(workspace, 30);
    create_all(&store, &samples).await;
    let list = store.list(workspace, &Filter::ALL, None, 100).await.unwrap();
    assert_eq!(list, in_list_order(&samples));
    assert_eq!(list[0], samples[29].key, "the newest is the first");
    assert_eq!(store.list(workspace, &Filter::ALL, None, 5).await.unwrap(), list[..5]);
}

pub async fn equal_times_are_listed_by_id(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let numbers = [5, u128::MAX, 0, 1 << 64, 3, (1 << 64) - 1, 1 << 127];
    let mut samples = Vec::new();
    for (moment, high) in [(MORNING, 0), (MORNING + 1, 1)] {
        for number in numbers {
            let mut sample = sample_at(workspace, at(moment));
            // Ids are taken over all records, so those of the second moment are made to differ.
            sample.key.id = id(number ^ (high << 100));
            samples.push(sample);
        }
    }
    create_all(&store, &samples).await;
    assert_eq!(list_all(&*store, workspace, 100).await, in_list_order(&samples));
    assert_eq!(list_all(&*store, workspace, 3).await, in_list_order(&samples));
}

pub async fn an_empty_workspace_has_an_empty_list(store: Arc<dyn KeyStore>) {
    assert_eq!(store.list(workspace(), &Filter::ALL, None, 100).await.unwrap(), []);
}

pub async fn a_revoked_record_stays_in_its_place(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let mut samples = samples(workspace, 9);
    create_all(&store, &samples).await;
    for sample in samples.iter_mut().step_by(2) {
        let time = at(MORNING + 1_000_000_000);
        let revoked = store.revoke(workspace, sample.key.id, time).await.unwrap();
        sample.key = revoked.expect("it is there");
    }
    assert_eq!(list_all(&*store, workspace, 100).await, in_list_order(&samples));
}

pub async fn the_extremes_of_times_and_ids_are_listed_in_order(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let last = Timestamp::MAX.as_micros();
    let times = [EARLIEST, EARLIEST + 1, -1, 0, 1, 255, 256, MORNING, last - 1, last];
    let mut samples: Vec<Sample> =
        times.iter().map(|&time| sample_at(workspace, at(time))).collect();
    for (time, number) in [(EARLIEST, u128::MAX), (last, 0)] {
        let mut outermost = sample_at(workspace, at(time));
        outermost.key.id = id(number);
        samples.push(outermost);
    }
    create_all(&store, &samples).await;
    let expected = in_list_order(&samples);
    for limit in [1, 2, 5, 100] {
        assert_eq!(list_all(&*store, workspace, limit).await, expected, "pages of {limit}");
    }
}
