//! Reading a list page by page.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyward_core::id::KeyId;
use keyward_core::key::{ApiKey, Status};
use keyward_core::store::{Filter, KeyStore, ListPosition};

use crate::records::{
    Calls as _, MORNING, at, create_all, id, in_list_order, list_all, sample_at, samples, workspace,
};

pub async fn every_page_size_gives_the_same_list(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let samples = samples(workspace, 20);
    create_all(&store, &samples).await;
    let expected = in_list_order(&samples);
    for limit in (1..=22).chain([1000, usize::MAX]) {
        assert_eq!(list_all(&*store, workspace, limit).await, expected, "pages of {limit}");
    }
}

pub async fn a_limit_of_zero_gives_nothing(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let samples = samples(workspace, 2);
    create_all(&store, &samples).await;
    assert_eq!(store.list(workspace, &Filter::ALL, None, 0).await.unwrap(), []);
    let after = Some(ListPosition::from(&samples[1].key));
    assert_eq!(store.list(workspace, &Filter::ALL, after, 0).await.unwrap(), []);
}

pub async fn a_list_that_ends_with_a_page_ends_there(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    create_all(&store, &samples(workspace, 10)).await;
    let first = store.list(workspace, &Filter::ALL, None, 5).await.unwrap();
    let second = store.list(workspace, &Filter::ALL, last_place(&first), 5).await.unwrap();
    assert_eq!((first.len(), second.len()), (5, 5));
    assert_eq!(store.list(workspace, &Filter::ALL, last_place(&second), 5).await.unwrap(), []);
}

pub async fn a_position_need_not_belong_to_a_record(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let moments = [MORNING, MORNING + 10, MORNING + 20];
    let samples: Vec<_> = moments.iter().map(|&moment| sample_at(workspace, at(moment))).collect();
    create_all(&store, &samples).await;
    let order = in_list_order(&samples);
    let behind = |created_at, id| {
        let after = ListPosition { created_at: at(created_at), id };
        store.list(workspace, &Filter::ALL, Some(after), 100)
    };
    let (first_id, last_id) = (id::<KeyId>(0), id::<KeyId>(u128::MAX));
    for (moment, id, rest) in [
        (MORNING + 21, last_id, 0..3),
        (MORNING + 20, first_id, 0..3),
        (MORNING + 20, last_id, 1..3),
        (MORNING + 15, first_id, 1..3),
        (MORNING + 10, first_id, 1..3),
        (MORNING + 10, last_id, 2..3),
        (MORNING, last_id, 3..3),
        (MORNING - 1, first_id, 3..3),
        (-1, first_id, 3..3),
    ] {
        assert_eq!(behind(moment, id).await.unwrap(), order[rest], "behind {moment} {id}");
    }
}

pub async fn a_position_of_another_workspace_shows_nothing_of_it(store: Arc<dyn KeyStore>) {
    let (ours, theirs) = (samples(workspace(), 4), samples(workspace(), 4));
    create_all(&store, &ours).await;
    create_all(&store, &theirs).await;
    let after = Some(ListPosition::from(&theirs[2].key));
    let page = store.list(ours[0].key.workspace_id, &Filter::ALL, after, 100).await.unwrap();
    assert!(page.iter().all(|key| key.workspace_id == ours[0].key.workspace_id));
    assert!(page.iter().all(|key| key.created_at <= theirs[2].key.created_at));
    assert!(page.len() >= 2, "the older ones are all there: {page:?}");
}

pub async fn creating_between_two_pages_shifts_nothing(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let before = samples(workspace, 10);
    create_all(&store, &before).await;
    let mut seen = store.list(workspace, &Filter::ALL, None, 4).await.unwrap();

    let newer = sample_at(workspace, at(MORNING + 60_000_000));
    let older = sample_at(workspace, at(MORNING - 60_000_000));
    create_all(&store, &[newer, older.clone()]).await;
    let rest = store.list(workspace, &Filter::ALL, last_place(&seen), 100).await.unwrap();
    seen.extend(rest);
    assert_eq!(seen[..10], in_list_order(&before));
    assert_eq!(seen[10..], [older.key], "what was made behind the position is on a later page");
}

pub async fn revoking_between_two_pages_shifts_nothing(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let samples = samples(workspace, 10);
    create_all(&store, &samples).await;
    let mut seen = store.list(workspace, &Filter::ALL, None, 5).await.unwrap();
    // The record of the position itself, one that was shown, and one that is still to come.
    for key in [seen[4].id, seen[0].id, samples[0].key.id] {
        store.revoke(workspace, key, at(MORNING + 60_000_000)).await.unwrap();
    }
    seen.extend(store.list(workspace, &Filter::ALL, last_place(&seen), 100).await.unwrap());
    let ids = |keys: &[ApiKey]| keys.iter().map(|key| key.id).collect::<Vec<_>>();
    assert_eq!(ids(&seen), ids(&in_list_order(&samples)));
    assert_eq!(seen[9].status, Status::Revoked);
}

pub async fn nothing_is_missed_or_repeated_while_others_write(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let lasting = samples(workspace, 300);
    create_all(&store, &lasting).await;

    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (store, done) = (Arc::clone(&store), Arc::clone(&done));
        async move {
            // Between, before and behind the lasting ones.
            for moment in (-100..10_000).cycle().step_by(97) {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let passing = sample_at(workspace, at(MORNING + moment * 100_000));
                passing.create(&*store).await;
                store.revoke(workspace, passing.key.id, at(MORNING)).await.unwrap();
            }
        }
    });
    for limit in [1, 7, 50] {
        let list = list_all(&*store, workspace, limit).await;
        let ids: HashSet<KeyId> = list.iter().map(|key| key.id).collect();
        assert_eq!(ids.len(), list.len(), "a record is listed twice");
        assert!(lasting.iter().all(|sample| ids.contains(&sample.key.id)), "a record is missed");
    }
    done.store(true, Ordering::Relaxed);
    writer.await.unwrap();
}

fn last_place(page: &[ApiKey]) -> Option<ListPosition> {
    page.last().map(ListPosition::from)
}
