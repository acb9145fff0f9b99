//! Several things that go wrong at a time, none of them chosen by anybody.

use std::time::Duration;

use keyward_tests::server::Server;
use tokio::time::sleep;

use crate::fleet::{Fleet, NODES};
use crate::load::{Load, below};
use crate::rounds;

/// What goes wrong with one node.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Stopped,
    CutOff,
    Held,
    /// Its connections to Postgres are ended, and those of the others too.
    Ended,
}

const FAULTS: [Fault; 4] = [Fault::Stopped, Fault::CutOff, Fault::Held, Fault::Ended];

impl Fault {
    async fn begin(self, fleet: &mut Fleet, node: usize) {
        let end =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'keyward'";
        match self {
            Self::Stopped => fleet.nodes[node].pause(),
            Self::CutOff => fleet.proxies[node].cut(),
            Self::Held => fleet.proxies[node].hold(),
            Self::Ended => fleet.cluster.run(&[end]).await,
        }
    }
}

/// Ends all faults of one node.
fn mend(fleet: &mut Fleet, node: usize) {
    fleet.proxies[node].mend();
    fleet.nodes[node].resume();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_at_a_time_nothing_that_was_revoked_is_accepted() {
    let mut fleet = Fleet::start().await;
    let load = Load::begin(&fleet);
    for _ in 0..rounds(20) {
        // It begins while the one before is still going on, as a rule on another node.
        let (fault, node) = (FAULTS[below(FAULTS.len())], below(NODES));
        fault.begin(&mut fleet, node).await;
        sleep(Duration::from_millis(u64::try_from(below(500)).expect("it is small"))).await;
        if below(3) > 0 {
            mend(&mut fleet, below(NODES));
        }
    }
    for node in 0..NODES {
        mend(&mut fleet, node);
    }
    load.revoke(20).await;
    load.end().await.assert_strict();
    fleet.assert_serves().await;
    assert!(fleet.nodes.iter_mut().all(Server::is_alive));
}
