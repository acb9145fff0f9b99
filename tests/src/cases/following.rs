//! The feed of changes. A store without one keeps these sentences by having nobody else who changes
//! it: what it would be asked here cannot happen.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use keyward_core::secret::KeyDigest;
use keyward_core::store::{ChangeFeed, KeyStore, Mark, News, StoredKey};
use tokio::task::JoinSet;

use crate::records::{Calls as _, MORNING, Sample, at, sample, samples, workspace};

pub async fn a_feed_is_there_or_not_and_stays_so(store: Arc<dyn KeyStore>) {
    let shared = store.feed().is_some();
    store.close().await.unwrap();
    assert_eq!(store.feed().is_some(), shared);
}

pub async fn a_change_is_told_to_those_who_know_of_all_before_it(store: Arc<dyn KeyStore>) {
    let Some(feed) = store.feed() else { return };
    let (revoked, other) = (sample(workspace()), sample(workspace()));
    let before = newest(feed).await;
    revoked.create(&*store).await;
    other.create(&*store).await;
    // Nobody remembers what was not there.
    assert_eq!(after(feed, before).await, (News::Changed(vec![]), before));

    revoke(&*store, &revoked).await;
    let (news, behind) = after(feed, before).await;
    assert_eq!(news, News::Changed(vec![revoked.digest]));
    assert_eq!(after(feed, behind).await, (News::Changed(vec![]), behind));
    // Revoking again changes nothing.
    revoke(&*store, &revoked).await;
    assert_eq!(after(feed, behind).await, (News::Changed(vec![]), behind));

    let mut imported = StoredKey { key: other.key.clone(), digest: other.digest };
    imported.key.revoke(at(MORNING + 1));
    store.import(&[imported]).await.unwrap();
    assert_eq!(after(feed, behind).await.0, News::Changed(vec![other.digest]));
    let both = HashSet::from([revoked.digest, other.digest]);
    assert_eq!(changed(after(feed, before).await.0), both);
}

/// Changes that are made side by side become visible in the order of their marks: whoever goes from
/// poll to poll while they are made is told of every one.
pub async fn no_change_is_missed_however_they_overlap(store: Arc<dyn KeyStore>) {
    let Some(feed) = store.feed() else { return };
    let samples = samples(workspace(), 300);
    for sample in &samples {
        sample.create(&*store).await;
    }
    let mut mark = newest(feed).await;
    let expected: HashSet<KeyDigest> = samples.iter().map(|sample| sample.digest).collect();
    let mut revokers = JoinSet::new();
    for sample in samples {
        let store = Arc::clone(&store);
        revokers.spawn(async move { revoke(&*store, &sample).await });
    }
    let mut told = HashSet::new();
    loop {
        let ended = revokers.is_empty();
        let (news, behind) = after(feed, mark).await;
        told.extend(changed(news));
        mark = behind;
        if ended {
            break;
        }
        // As many as have ended, and one more to wait for.
        revokers.join_next().await.expect("it is not empty").unwrap();
        while revokers.try_join_next().is_some() {}
    }
    assert_eq!(told, expected);
}

pub async fn a_mark_of_another_history_is_told_apart(store: Arc<dyn KeyStore>) {
    let Some(feed) = store.feed() else { return };
    let known = newest(feed).await;
    for sample in samples(workspace(), 3) {
        sample.create(&*store).await;
        revoke(&*store, &sample).await;
    }
    let here = newest(feed).await;
    let foreign = [
        Mark { nonce: [7; 16], ..here },
        Mark { nonce: [7; 16], ..known },
        Mark { epoch: here.epoch - 1, ..here },
        Mark { epoch: here.epoch + 1, ..here },
        Mark { epoch: here.epoch + 1_000_000, nonce: [7; 16] },
        Mark { epoch: u64::MAX, nonce: [0; 16] },
    ];
    for mark in foreign {
        assert_eq!(after(feed, mark).await, (News::Anything, here), "{mark:?}");
    }
    assert_eq!(feed.poll(None).await.unwrap().news, News::Anything);
}

pub async fn the_newest_change_is_never_forgotten(store: Arc<dyn KeyStore>) {
    let Some(feed) = store.feed() else { return };
    let sample = sample(workspace());
    sample.create(&*store).await;
    for _ in 0..2 {
        feed.prune().await.unwrap();
        let here = newest(feed).await;
        assert_eq!(after(feed, here).await, (News::Changed(vec![]), here));
        revoke(&*store, &sample).await;
    }
}

pub async fn a_window_grows_at_once_and_a_barrier_shrinks_when_it_is_finished(
    store: Arc<dyn KeyStore>,
) {
    let Some(feed) = store.feed() else { return };
    let [none, short, long] = [0, 40, 900].map(Duration::from_millis);
    for (window, barrier) in [(long, long), (short, long)] {
        let change = feed.begin_window(window).await.unwrap();
        assert_eq!((change.windows.node, change.windows.barrier), (window, barrier));
        assert_eq!(feed.windows().await.unwrap(), change.windows);
        assert_eq!(feed.poll(None).await.unwrap().windows, change.windows);
    }
    let overtaken = feed.begin_window(none).await.unwrap();
    let change = feed.begin_window(short).await.unwrap();
    // Nodes may have been told of a longer one since.
    assert!(!feed.finish_window(&overtaken).await.unwrap());
    assert_eq!(feed.windows().await.unwrap().barrier, long);
    assert!(feed.finish_window(&change).await.unwrap());
    let windows = feed.windows().await.unwrap();
    assert_eq!((windows.node, windows.barrier), (short, short));
}

async fn newest(feed: &dyn ChangeFeed) -> Mark {
    feed.poll(None).await.unwrap().newest.expect("there is always a newest change")
}

/// What changed after `mark`, and the newest change then.
async fn after(feed: &dyn ChangeFeed, mark: Mark) -> (News, Mark) {
    let poll = feed.poll(Some(mark)).await.unwrap();
    (poll.news, poll.newest.expect("there is always a newest change"))
}

fn changed(news: News) -> HashSet<KeyDigest> {
    match news {
        News::Changed(digests) => digests.into_iter().collect(),
        News::Anything => panic!("the history goes on"),
    }
}

async fn revoke(store: &dyn KeyStore, sample: &Sample) {
    let revoked = store.revoke(sample.key.workspace_id, sample.key.id, at(MORNING)).await.unwrap();
    assert!(revoked.is_some());
}
