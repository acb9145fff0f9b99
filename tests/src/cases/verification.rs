//! Verification over the store, with a memory of its own before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyward_core::clock::Timestamp;
use keyward_core::store::KeyStore;
use keyward_core::verify::Refusal;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::records::{MORNING, at, create_all, sample, workspace};
use crate::service::{Answer, Issued, Service};

const REVOKED: Answer = Answer::Refused(Refusal::Revoked);
const PLENTY: usize = 1 << 16;

pub async fn a_key_is_accepted_from_its_creation_on(store: Arc<dyn KeyStore>) {
    let service = Service::over(store, PLENTY, PLENTY).await;
    let mut users = JoinSet::new();
    for _ in 0..8 {
        let service = service.clone();
        users.spawn(async move {
            for _ in 0..25 {
                let issued = service.create().await.unwrap();
                assert_eq!(service.verify(&issued.plain).await.unwrap(), Answer::Accepted);
            }
        });
    }
    users.join_all().await;
    assert_eq!(service.remembered(), 200);
}

pub async fn a_revoked_key_stays_refused_whatever_is_remembered(store: Arc<dyn KeyStore>) {
    // Nothing, next to nothing and everything is remembered.
    for entries in [0, 1, PLENTY] {
        let service = Service::over(Arc::clone(&store), entries, PLENTY).await;
        let (issued, other) = (service.create().await.unwrap(), service.create().await.unwrap());
        assert_eq!(service.verify(&issued.plain).await.unwrap(), Answer::Accepted);
        service.revoke(&issued).await.unwrap();
        for _ in 0..5 {
            assert_eq!(service.verify(&issued.plain).await.unwrap(), REVOKED);
            assert_eq!(service.verify(&other.plain).await.unwrap(), Answer::Accepted);
        }
    }
}

/// Verifiers that hammer a key while it is revoked: every one that starts after the revocation was
/// answered is refused. With room for one record the two keys push each other out, so that there
/// are fills under way at every moment.
pub async fn racing_fills_never_revive_a_revoked_key(store: Arc<dyn KeyStore>) {
    for entries in [0, 1, 2, PLENTY] {
        let service = Service::over(Arc::clone(&store), entries, PLENTY).await;
        for _ in 0..25 {
            let victim = service.create().await.unwrap();
            let other = service.create().await.unwrap();
            revoke_under_fire(&service, &victim, &other).await;
        }
    }
}

pub async fn racing_revokers_and_verifiers_agree(store: Arc<dyn KeyStore>) {
    let service = Service::over(store, PLENTY, PLENTY).await;
    for _ in 0..20 {
        let issued = service.create().await.unwrap();
        assert_eq!(service.verify(&issued.plain).await.unwrap(), Answer::Accepted);
        let mut race = JoinSet::new();
        let start = Arc::new(Barrier::new(8));
        for _ in 0..8 {
            let (service, issued, start) = (service.clone(), issued.clone(), Arc::clone(&start));
            race.spawn(async move {
                start.wait().await;
                let revoked = service.revoke(&issued).await.unwrap();
                assert_eq!(service.verify(&issued.plain).await.unwrap(), REVOKED);
                revoked.updated_at
            });
        }
        let times = race.join_all().await;
        assert!(times.iter().all(|time| *time == times[0]), "{times:?}");
    }
}

async fn revoke_under_fire(service: &Service, victim: &Issued, other: &Issued) {
    let answered = Arc::new(AtomicBool::new(false));
    let start = Arc::new(Barrier::new(5));
    let mut verifiers = JoinSet::new();
    for _ in 0..4 {
        let (service, victim, other) = (service.clone(), victim.plain.clone(), other.plain.clone());
        let (answered, start) = (Arc::clone(&answered), Arc::clone(&start));
        verifiers.spawn(async move {
            start.wait().await;
            let mut late = 0;
            while late < 20 {
                let is_late = answered.load(Ordering::SeqCst);
                let answer = service.verify(&victim).await.unwrap();
                assert!(!is_late || answer == REVOKED, "a revoked key was {answer:?}");
                assert_eq!(service.verify(&other).await.unwrap(), Answer::Accepted);
                late += u32::from(is_late);
                tokio::task::yield_now().await;
            }
        });
    }
    start.wait().await;
    service.revoke(victim).await.unwrap();
    answered.store(true, Ordering::SeqCst);
    verifiers.join_all().await;
}

/// By the time of the store, which is near that of this machine here.
pub async fn a_key_is_refused_from_its_expiry_on(store: Arc<dyn KeyStore>) {
    let service = Service::over(Arc::clone(&store), 100, 100).await;
    let (mut ended, mut goes_on) = (sample(workspace()), sample(workspace()));
    ended.key.details.expires_at = Some(at(MORNING + 1));
    goes_on.key.details.expires_at = Some(Timestamp::MAX);
    create_all(&store, &[ended.clone(), goes_on.clone()]).await;
    // Looked up, and then remembered.
    for _ in 0..3 {
        let expired = Answer::Refused(Refusal::Expired);
        assert_eq!(service.verify(&ended.plain).await.unwrap(), expired);
        assert_eq!(service.verify(&goes_on.plain).await.unwrap(), Answer::Accepted);
    }
}
