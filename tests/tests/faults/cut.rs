//! Connections to Postgres are cut, anywhere in the midst of a change.

use keyward_tests::cluster::Cluster;
use keyward_tests::proxy::{Direction, Proxy};
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant, parse};
use keyward_tests::wait::soon;

use crate::node_on;

/// A change takes some 700 bytes to the server, and its answer some 300, on a connection on which its
/// statement is prepared. A step that has no divisor in common with the protocol's message sizes.
const STEP: usize = 29;
const LONGEST: i64 = 1_300;

#[tokio::test]
async fn a_create_that_is_cut_off_is_whole_or_absent() {
    let wired = Wired::start().await;
    let (proxy, tenant) = (&wired.proxy, &wired.tenant);
    let mut outcomes = [0; 3];
    for (direction, bytes) in cuts() {
        let name = format!("{direction:?} {bytes}");
        let body = format!(r#"{{"name":"{name}"}}"#);
        let before = tenant.list().await.len();
        proxy.cut_after(direction, bytes);
        let answer = soon(tenant.post(body)).await;
        proxy.mend();
        let list = tenant.list().await;
        let made: Vec<&KeyObject> = list.iter().filter(|key| key.name == name).collect();
        assert_eq!(list.len(), before + made.len(), "nothing else was made");
        match answer.status {
            201 => {
                let key: KeyObject = parse(&answer);
                assert_eq!(made, [&key.clone().without_raw()], "what was answered is there");
                assert_eq!(tenant.verdict(key.raw()).await, "valid");
                outcomes[0] += 1;
            }
            503 => {
                assert!(made.len() <= 1, "{made:?}");
                assert!(made.iter().all(|key| key.status == "active"), "{made:?}");
                outcomes[1 + made.len()] += 1;
            }
            _ => panic!("{answer:?}"),
        }
    }
    let [answered, absent, made] = outcomes;
    assert!(answered > 0 && absent > 0 && made > 0, "the cuts missed a case: {outcomes:?}");
}

#[tokio::test]
async fn a_revocation_that_is_cut_off_is_whole_or_absent_and_can_be_repeated() {
    let wired = Wired::start().await;
    let (proxy, tenant) = (&wired.proxy, &wired.tenant);
    let mut outcomes = [0; 3];
    for (direction, bytes) in cuts() {
        let key = tenant.create("a").await;
        proxy.cut_after(direction, bytes);
        let answer = soon(tenant.delete(key.id)).await;
        proxy.mend();
        let revoked = is_revoked(tenant, &key).await;
        match (answer.status, revoked) {
            (200, true) => outcomes[0] += 1,
            (503, false) => outcomes[1] += 1,
            (503, true) => outcomes[2] += 1,
            _ => panic!("revoked: {revoked}; {answer:?}"),
        }
        tenant.revoke(key.id).await;
        assert!(is_revoked(tenant, &key).await);
    }
    let [answered, absent, made] = outcomes;
    assert!(answered > 0 && absent > 0 && made > 0, "the cuts missed a case: {outcomes:?}");
}

/// A verification that is cut off is asked again, on another connection, and is never guessed.
#[tokio::test]
async fn a_verification_that_is_cut_off_is_not_guessed() {
    let wired = Wired::start().await;
    let (proxy, tenant) = (&wired.proxy, &wired.tenant);
    let (good, bad) = (tenant.create("good").await, tenant.create("bad").await);
    tenant.revoke(bad.id).await;
    for (direction, bytes) in cuts() {
        proxy.cut_after(direction, bytes);
        let (on_good, on_bad) = tokio::join!(tenant.auth(good.raw()), tenant.auth(bad.raw()));
        proxy.mend();
        assert!(matches!(on_good, 200 | 503), "{on_good} after {bytes} bytes {direction:?}");
        assert!(matches!(on_bad, 401 | 503), "{on_bad} after {bytes} bytes {direction:?}");
        assert_eq!(tenant.auth(good.raw()).await, 200);
    }
}

/// A node that reaches its Postgres through a proxy.
struct Wired {
    proxy: Proxy,
    tenant: Tenant,
    _node: Server,
    _cluster: Cluster,
}

impl Wired {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        let proxy = Proxy::of(cluster.address()).await;
        let launch = node_on(cluster.url_at(proxy.address())).flag("--pool-size", "3");
        let node = launch.start().await;
        Self { proxy, tenant: node.tenant(), _node: node, _cluster: cluster }
    }
}

fn cuts() -> impl Iterator<Item = (Direction, i64)> {
    let lengths = || (0..LONGEST).step_by(STEP);
    let to = |direction| move |bytes| (direction, bytes);
    lengths().map(to(Direction::ToServer)).chain(lengths().map(to(Direction::ToClient)))
}

/// Whether the key is revoked, as the list and verification say with one voice.
async fn is_revoked(tenant: &Tenant, key: &KeyObject) -> bool {
    let list = tenant.list().await;
    let listed = list.iter().find(|it| it.id == key.id).expect("its creation was answered");
    let revoked = listed.status == "revoked";
    assert_eq!(tenant.verdict(key.raw()).await, if revoked { "revoked" } else { "valid" });
    assert_eq!(listed.updated_at != listed.created_at, revoked, "half a revocation: {listed:?}");
    revoked
}
