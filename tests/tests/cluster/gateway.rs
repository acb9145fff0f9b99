//! A real gateway in front of two nodes, which asks one after the other.

use keyward_tests::client::Client;
use keyward_tests::gateway::{Addresses, Gateway, free_address};
use keyward_tests::server::Server;
use keyward_tests::tenant::KeyObject;
use keyward_tests::toy::Toy;

use crate::fleet::{Fleet, NODES, revoke, settled};
use crate::rounds;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_in_front_of_two_nodes_refuses_a_key_at_once_wherever_it_was_revoked() {
    const ASKED: usize = 2;
    let fleet = Fleet::start().await;
    let application = Toy::start("\"hello\"").await;
    let addresses = Addresses {
        gateway: free_address(),
        keyward: fleet.nodes[..ASKED].iter().map(Server::address).collect(),
        application: application.address(),
    };
    let _gateway = Gateway::start(Gateway::nginx, &addresses).await;
    let client = Client::new(addresses.gateway);
    for round in 0..rounds(20) {
        let key = fleet.create("a").await;
        for _ in 0..2 * ASKED {
            assert_eq!(passes(&client, &key).await, 200);
        }
        revoke(&fleet.tenants[round % NODES], &key).await;
        let passed = application.heads().len();
        for _ in 0..2 * ASKED {
            assert_eq!(passes(&client, &key).await, 401);
        }
        assert_eq!(application.heads().len(), passed, "nothing came through");
    }
    for tenant in &fleet.tenants[..ASKED] {
        let hits = tenant.client().metric("keyward_cache_hits_total").await;
        assert!(hits > 0.0, "every node was asked and answered from memory");
    }
}

/// What the gateway says of a key.
async fn passes(client: &Client, key: &KeyObject) -> u16 {
    settled(|| client.get("/").bearer(key.raw()).send()).await.status
}
