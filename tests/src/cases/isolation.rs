//! Records of different workspaces never meet.

use std::slice;
use std::sync::Arc;

use keyward_core::id::WorkspaceId;
use keyward_core::store::KeyStore;

use crate::records::{
    Calls as _, at, create_all, id, in_list_order, list_all, sample, samples, workspace,
};

pub async fn a_workspace_does_not_get_the_record_of_another(store: Arc<dyn KeyStore>) {
    let (ours, theirs) = (sample(workspace()), sample(workspace()));
    ours.create(&*store).await;
    theirs.create(&*store).await;
    let get = |workspace, id| store.get(workspace, id);
    assert_eq!(get(ours.key.workspace_id, ours.key.id).await.unwrap(), Some(ours.stored()));
    assert_eq!(get(theirs.key.workspace_id, ours.key.id).await.unwrap(), None);
    assert_eq!(get(workspace(), ours.key.id).await.unwrap(), None);
}

pub async fn a_workspace_does_not_list_the_records_of_another(store: Arc<dyn KeyStore>) {
    // The same times in both, so that only the workspace tells the records apart.
    let (ours, theirs) = (samples(workspace(), 20), samples(workspace(), 30));
    create_all(&store, &ours).await;
    create_all(&store, &theirs).await;
    for share in [&ours, &theirs] {
        let workspace = share[0].key.workspace_id;
        assert_eq!(list_all(&*store, workspace, 7).await, in_list_order(share));
    }
    assert_eq!(list_all(&*store, workspace(), 7).await, []);
}

pub async fn a_workspace_does_not_revoke_the_record_of_another(store: Arc<dyn KeyStore>) {
    let (ours, theirs) = (sample(workspace()), sample(workspace()));
    ours.create(&*store).await;
    theirs.create(&*store).await;
    for stranger in [theirs.key.workspace_id, workspace()] {
        let outcome = store.revoke(stranger, ours.key.id, at(0)).await.unwrap();
        assert_eq!(outcome, None);
        assert_eq!(store.find(&ours.digest).await.unwrap(), Some(ours.key.clone()));
        assert_eq!(list_all(&*store, ours.key.workspace_id, 8).await, slice::from_ref(&ours.key));
    }
    let outcome = store.revoke(ours.key.workspace_id, ours.key.id, at(0)).await.unwrap();
    assert!(outcome.is_some());
}

pub async fn a_digest_is_found_whatever_its_workspace(store: Arc<dyn KeyStore>) {
    for _ in 0..3 {
        let sample = sample(workspace());
        sample.create(&*store).await;
        assert_eq!(store.find(&sample.digest).await.unwrap(), Some(sample.key));
    }
}

/// An end of a scan that is one place off shows the neighbour; the last id of all has none.
pub async fn workspaces_with_neighbouring_ids_do_not_meet(store: Arc<dyn KeyStore>) {
    let middle = 0x660e_8400_e29b_41d4_a716_4466_5544_00ff;
    let ids = [0, 1, 0xff, 0x100, middle - 1, middle, middle + 1, u128::MAX - 1, u128::MAX];
    let mut shares = Vec::new();
    for workspace in ids.map(id::<WorkspaceId>) {
        let share = samples(workspace, 5);
        create_all(&store, &share).await;
        shares.push(share);
    }
    for share in shares {
        let workspace = share[0].key.workspace_id;
        assert_eq!(list_all(&*store, workspace, 5).await, in_list_order(&share), "{workspace}");
        assert_eq!(list_all(&*store, workspace, 2).await, in_list_order(&share), "{workspace}");
    }
}
