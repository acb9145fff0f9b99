//! What Postgres can do to its nodes, and what they make of it. Each test has a cluster of its own,
//! made with the programs of Postgres that are installed here, because it is to be killed.

mod calls;
mod cut;
mod full;
mod kill;
mod many;
mod outage;
mod plans;
mod refused;
mod schema;
mod tls;

use keyward_tests::launch::{Launch, Storage};

/// How a node on the database with this URL is started.
fn node_on(url: impl Into<String>) -> Launch {
    Launch::on(Storage::Elsewhere(url.into()))
}
