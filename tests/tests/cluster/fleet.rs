//! Three nodes over one Postgres, each with a way of its own to it.

use keyward_tests::cluster::Cluster;
use keyward_tests::launch::{Launch, Storage};
use keyward_tests::proxy::Proxy;
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant};
use keyward_tests::wait::eventually;

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
        let with = |launch: Launch| launch.flag("--revocation-window", window);
        Self::on(Cluster::start().await, with).await
    }

    async fn on(cluster: Cluster, adapt: impl FnOnce(Launch) -> Launch) -> Self {
        let launch = adapt(Launch::on(Storage::Elsewhere(cluster.url())));
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

    /// The caller at the first node.
    pub fn tenant(&self) -> &Tenant {
        &self.tenants[0]
    }

    /// Has all nodes accept the key, and so remember it.
    pub async fn remember(&self, key: &KeyObject) {
        for tenant in &self.tenants {
            eventually("the key is accepted", async || tenant.auth(key.raw()).await == 200).await;
        }
    }

    /// A new key, which all nodes have accepted.
    pub async fn remembered_key(&self, name: &str) -> KeyObject {
        let key = self.tenant().create(name).await;
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
            let key = tenant.create("after all").await;
            self.remember(&key).await;
            tenant.revoke(key.id).await;
            for tenant in &self.tenants {
                assert_eq!(tenant.verdict(key.raw()).await, "revoked");
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
