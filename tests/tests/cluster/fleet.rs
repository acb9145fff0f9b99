//! Three nodes over one Postgres, each with a way of its own to it.

use std::time::Duration;

use keyward_tests::client::{Answer, Client};
use keyward_tests::cluster::Cluster;
use keyward_tests::launch::{Launch, Storage};
use keyward_tests::proxy::Proxy;
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant, parse};
use keyward_tests::wait::{eventually, soon};
use tokio::time::sleep;

pub const NODES: usize = 3;

/// The nodes, in order of number.
pub struct Fleet {
    /// The same caller in the same workspace, at each node.
    pub tenants: Vec<Tenant>,
    pub nodes: Vec<Server>,
    /// The ways of the nodes to Postgres.
    pub proxies: Vec<Proxy>,
    pub cluster: Cluster,
    launch: Launch,
}

impl Fleet {
    /// Nodes with the window that users get.
    pub async fn start() -> Self {
        Self::with_window("250ms").await
    }

    /// Nodes with the window that this initialises the empty database with.
    pub async fn with_window(window: &str) -> Self {
        let cluster = Cluster::start().await;
        let launch = Launch::on(Storage::Elsewhere(cluster.url()));
        let launch = launch.flag("--revocation-window", window);
        let (mut nodes, mut proxies) = (Vec::new(), Vec::new());
        for _ in 0..NODES {
            let proxy = Proxy::of(cluster.address()).await;
            let way = Storage::Elsewhere(cluster.url_at(proxy.address()));
            nodes.push(launch.clone().moved_to(way).start().await);
            proxies.push(proxy);
        }
        let tenant = nodes[0].tenant();
        let tenants = nodes.iter().map(|node| tenant.on(node.client())).collect();
        Self { tenants, nodes, proxies, cluster, launch }
    }

    /// One more node, without a proxy, and the caller at it.
    pub async fn one_more(&self) -> (Server, Tenant) {
        let node = self.launch.start().await;
        let tenant = self.tenants[0].on(node.client());
        (node, tenant)
    }

    /// Leads all nodes to another Postgres.
    pub fn turn_to(&self, other: &Cluster) {
        for proxy in &self.proxies {
            proxy.turn_to(other.address());
        }
    }

    /// Puts a proxy in front of each node, so that clients find whoever takes its place.
    pub async fn front(&mut self) -> Vec<Proxy> {
        let mut fronts = Vec::new();
        for (tenant, node) in self.tenants.iter_mut().zip(&self.nodes) {
            let front = Proxy::of(node.address()).await;
            *tenant = tenant.on(Client::new(front.address()));
            fronts.push(front);
        }
        fronts
    }

    /// Starts another node in the place of one, which is killed then.
    pub async fn replace(&mut self, node: usize) {
        let launch = self.nodes[node].launch().clone();
        let other = launch.start().await;
        std::mem::replace(&mut self.nodes[node], other).kill().await;
    }

    /// The caller at the first node.
    pub fn tenant(&self) -> &Tenant {
        &self.tenants[0]
    }

    /// A new key. A busy machine may keep a node from its database for a while.
    pub async fn create(&self, name: &str) -> KeyObject {
        let body = format!(r#"{{"name":"{name}"}}"#);
        parse(&settled(|| self.tenant().post(body.clone())).await.expect(201))
    }

    /// Has all nodes accept the key, and so remember it.
    pub async fn remember(&self, key: &KeyObject) {
        for tenant in &self.tenants {
            assert_eq!(judgement(tenant, key).await, 200);
        }
    }

    /// A new key, which all nodes have accepted.
    pub async fn remembered_key(&self, name: &str) -> KeyObject {
        let key = self.create(name).await;
        self.remember(&key).await;
        key
    }

    /// Every node makes keys, accepts them and revokes them, before long.
    pub async fn assert_serves(&self) {
        for tenant in &self.tenants {
            eventually("the node is ready", async || {
                tenant.client().get("/readyz").send().await.status == 200
            })
            .await;
            let key = self.remembered_key("after all").await;
            revoke(tenant, &key).await;
            for tenant in &self.tenants {
                assert_eq!(judgement(tenant, &key).await, 401);
            }
        }
    }

    /// The sum of a metric over the nodes.
    pub async fn metric(&self, name: &str) -> f64 {
        let mut sum = 0.0;
        for tenant in &self.tenants {
            sum += tenant.client().metric(name).await;
        }
        sum
    }
}

/// Revokes a key through this node.
pub async fn revoke(tenant: &Tenant, key: &KeyObject) {
    settled(|| tenant.delete(key.id)).await.expect(200);
}

/// What the node says of a key.
pub async fn judgement(tenant: &Tenant, key: &KeyObject) -> u16 {
    let auth = || tenant.client().get("/api/v1/auth").header("x-api-key", key.raw()).send();
    settled(auth).await.status
}

/// The first answer that is more than that there is none now.
pub async fn settled<F: Future<Output = Answer>>(ask: impl Fn() -> F) -> Answer {
    soon(async {
        loop {
            let answer = ask().await;
            if answer.status < 500 {
                return answer;
            }
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}
