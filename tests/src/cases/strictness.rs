//! Verification over a store that pauses and fails at the worst moments.

use std::sync::Arc;

use keyward_core::service::KeysError;
use keyward_core::store::{KeyStore, StoreError};
use keyward_core::verify::{Refusal, VerifyError};

use crate::faulty::{Call, FaultyStore, Moment};
use crate::records::{list_all, sample, workspace};
use crate::service::{Answer, Service};

const REVOKED: Answer = Answer::Refused(Refusal::Revoked);

pub async fn a_revocation_that_failed_after_its_write_is_honoured(store: Arc<dyn KeyStore>) {
    let (store, service) = faulty(store, 8).await;
    // The second time the store does not say either which record it was about.
    for silent in [false, true] {
        let issued = service.create().await.unwrap();
        assert_eq!(service.verify(&issued.plain).await.unwrap(), Answer::Accepted);

        store.fail_once(Call::Change, Moment::After);
        if silent {
            store.fail_once(Call::Get, Moment::Before);
        }
        let outcome = service.revoke(&issued).await;
        let unavailable = matches!(outcome, Err(KeysError::Store(StoreError::Unavailable(_))));
        assert!(unavailable, "{outcome:?}");
        assert_eq!(service.verify(&issued.plain).await.unwrap(), REVOKED);
    }
}

pub async fn a_revocation_that_failed_before_its_write_changed_nothing(store: Arc<dyn KeyStore>) {
    let (store, service) = faulty(store, 8).await;
    let issued = service.create().await.unwrap();
    store.fail_once(Call::Change, Moment::Before);
    assert!(service.revoke(&issued).await.is_err());
    assert_eq!(service.verify(&issued.plain).await.unwrap(), Answer::Accepted);
    service.revoke(&issued).await.unwrap();
    assert_eq!(service.verify(&issued.plain).await.unwrap(), REVOKED);
}

pub async fn a_fill_that_spans_a_revocation_is_not_remembered(store: Arc<dyn KeyStore>) {
    let (store, service) = faulty(store, 8).await;
    let issued = service.create().await.unwrap();
    let gate = store.hold(Call::Find, Moment::After);
    let early = tokio::spawn(verify(service.clone(), issued.plain.clone()));
    gate.reached_by(1).await;
    store.free(Call::Find, Moment::After);

    service.revoke(&issued).await.unwrap();
    gate.let_pass(1);
    // It arrived before the revocation and may be answered either way; nothing else may be.
    early.await.unwrap().unwrap();
    assert_eq!(service.remembered(), 0);
    assert_eq!(service.verify(&issued.plain).await.unwrap(), REVOKED);
}

pub async fn a_fill_that_spans_a_failed_revocation_is_not_remembered(store: Arc<dyn KeyStore>) {
    let (store, service) = faulty(store, 8).await;
    let issued = service.create().await.unwrap();
    let gate = store.hold(Call::Find, Moment::After);
    let early = tokio::spawn(verify(service.clone(), issued.plain.clone()));
    gate.reached_by(1).await;
    store.free(Call::Find, Moment::After);

    store.fail_once(Call::Change, Moment::After);
    assert!(service.revoke(&issued).await.is_err());
    gate.let_pass(1);
    early.await.unwrap().unwrap();
    assert_eq!(service.remembered(), 0);
    assert_eq!(service.verify(&issued.plain).await.unwrap(), REVOKED);
}

/// The record may be there, but nobody was given its key; the workspace goes on.
pub async fn a_create_that_failed_after_its_write_harms_nobody(store: Arc<dyn KeyStore>) {
    let (store, service) = faulty(store, 8).await;
    let first = service.create().await.unwrap();
    store.fail_once(Call::Add, Moment::After);
    let outcome = service.create().await;
    assert!(matches!(outcome, Err(KeysError::Store(StoreError::Unavailable(_)))), "{outcome:?}");

    service.create().await.unwrap();
    let list = list_all(&*store, first.key.workspace_id, 8).await;
    assert_eq!(list.len(), 3);
    assert_eq!(service.verify(&first.plain).await.unwrap(), Answer::Accepted);
}

pub async fn a_failing_store_neither_refuses_nor_accepts(store: Arc<dyn KeyStore>) {
    let (store, service) = faulty(store, 8).await;
    let issued = service.create().await.unwrap();
    for moment in [Moment::Before, Moment::After] {
        store.fail_once(Call::Find, moment);
        let outcome = service.verify(&issued.plain).await;
        assert!(
            matches!(outcome, Err(VerifyError::Store(StoreError::Unavailable(_)))),
            "{outcome:?}"
        );
        assert_eq!(service.remembered(), 0);
    }
    assert_eq!(service.verify(&issued.plain).await.unwrap(), Answer::Accepted);
    // Once it is remembered, the store is not asked at all.
    store.fail_once(Call::Find, Moment::Before);
    let outcome = service.verify(&issued.plain).await;
    assert_eq!(outcome.unwrap(), Answer::Accepted);
}

pub async fn lookups_beyond_the_bound_are_turned_away(store: Arc<dyn KeyStore>) {
    let (store, service) = faulty(store, 2).await;
    let remembered = service.create().await.unwrap();
    let unknown = sample(workspace()).plain;
    assert_eq!(service.verify(&remembered.plain).await.unwrap(), Answer::Accepted);

    let gate = store.hold(Call::Find, Moment::Before);
    let under_way = [(), ()].map(|()| tokio::spawn(verify(service.clone(), unknown.clone())));
    gate.reached_by(2).await;
    let outcome = service.verify(&unknown).await;
    assert!(matches!(outcome, Err(VerifyError::TooManyLookups)), "{outcome:?}");
    // What needs no lookup is answered as ever.
    let outcome = service.verify(&remembered.plain).await;
    assert_eq!(outcome.unwrap(), Answer::Accepted);
    let malformed = Answer::Refused(Refusal::Malformed);
    assert_eq!(service.verify("sk_live_nonsense").await.unwrap(), malformed);

    store.free(Call::Find, Moment::Before);
    gate.let_pass(2);
    for verification in under_way {
        let answer = verification.await.unwrap().unwrap();
        assert_eq!(answer, Answer::Refused(Refusal::Unknown));
    }
    let answer = service.verify(&unknown).await.unwrap();
    assert_eq!(answer, Answer::Refused(Refusal::Unknown));
}

pub async fn a_lookup_that_nobody_waits_for_gives_its_place_back(store: Arc<dyn KeyStore>) {
    let (store, service) = faulty(store, 1).await;
    let issued = service.create().await.unwrap();
    let gate = store.hold(Call::Find, Moment::Before);
    let abandoned = tokio::spawn(verify(service.clone(), issued.plain.clone()));
    gate.reached_by(1).await;
    store.free(Call::Find, Moment::Before);
    let outcome = service.verify(&issued.plain).await;
    assert!(matches!(outcome, Err(VerifyError::TooManyLookups)), "{outcome:?}");

    abandoned.abort();
    assert!(abandoned.await.unwrap_err().is_cancelled());
    assert_eq!(service.verify(&issued.plain).await.unwrap(), Answer::Accepted);
}

async fn faulty(store: Arc<dyn KeyStore>, lookups: usize) -> (Arc<FaultyStore>, Service) {
    let store = FaultyStore::over(store);
    let service = Service::over(Arc::clone(&store) as Arc<dyn KeyStore>, 1000, lookups).await;
    (store, service)
}

async fn verify(service: Service, presented: String) -> Result<Answer, VerifyError> {
    service.verify(&presented).await
}
