//! Large workspaces.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyward_core::store::{Filter, KeyStore, ListPosition};

use crate::records::{create_all, samples, workspace};

const RECORDS: i64 = 100_000;
const PAGE: usize = 500;

/// Every page is within its limit, none is missed, and the last pages cost what the first ones do:
/// a driver that reads its way to the position takes hundreds of times as long for them.
pub async fn a_hundred_thousand_records_are_listed_page_by_page(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let mut expected = samples(workspace, RECORDS);
    create_all(&store, &expected).await;
    // Small beside the large one, and must not be found in it.
    create_all(&store, &samples(crate::records::workspace(), 100)).await;
    expected.reverse();

    let (mut after, mut durations) = (None, Vec::new());
    for share in expected.chunks(PAGE) {
        let started = Instant::now();
        let page = store.list(workspace, &Filter::ALL, after, PAGE).await.unwrap();
        durations.push(started.elapsed());
        assert!(page.iter().eq(share.iter().map(|sample| &sample.key)));
        after = page.last().map(ListPosition::from);
    }
    assert_eq!(store.list(workspace, &Filter::ALL, after, PAGE).await.unwrap(), []);

    let third = durations.len() / 3;
    let (early, late) = (median(&durations[..third]), median(&durations[2 * third..]));
    assert!(late < 10 * early + Duration::from_millis(5), "early {early:?}, late {late:?}");
}

fn median(durations: &[Duration]) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}
