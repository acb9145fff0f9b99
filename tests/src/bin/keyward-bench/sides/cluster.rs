//! Nodes on a Postgres that others write too, with a window that is changed from slice to slice.

use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;

use super::memory::bare;
use super::{Sides, forgetful};
use crate::cpu::Processes;
use crate::over_http::OverHttp;
use crate::places::Place;
use crate::postgres::Postgres;
use crate::questions::{FORWARD_AUTH, REVOKE, WORKSPACE, revocation};
use crate::report::Sample;
use crate::rows::{LIGHT_LOAD, SERVER, WINDOWED, WINDOWLESS};
use crate::server::set_window;
use crate::side::Side;
use crate::storage::Storage;

/// The windows that are compared, and what their sides are called.
const WINDOWS: [(&str, &str); 2] = [(WINDOWED, "250ms"), (WINDOWLESS, "0s")];
/// How long Postgres is watched at rest.
const REST: Duration = Duration::from_secs(2);

/// Verifications by several nodes, beside a bare route.
pub async fn verifying(
    place: &Place,
    postgres: &Postgres,
    clients: usize,
) -> anyhow::Result<Sides> {
    let storage = Storage::Postgres(postgres.url().to_owned());
    let one = super::verifying(place, &place.server, &FORWARD_AUTH, clients, postgres.postmaster);
    for server in place.nodes() {
        // Each node remembers for itself.
        OverHttp { servers: vec![server], ..one.clone() }.warm_up().await?;
    }
    let floor = bare(&one).await?;
    let nodes = OverHttp { servers: place.nodes(), ..one.clone() };
    let few = OverHttp { connections: nodes.servers.len(), ..nodes.clone() };
    let forgetful = OverHttp { servers: vec![Rc::clone(forgetful(place)?)], ..one };
    let remark = at_rest(&storage, &nodes).await?;
    let windowed = |(name, window), side| {
        Box::new(Windowed { name, window, storage: storage.clone(), side }) as Box<dyn Side>
    };
    let mut sides: Vec<Box<dyn Side>> = vec![Box::new(floor)];
    sides.extend(WINDOWS.map(|window| windowed(window, nodes.clone())));
    sides.push(windowed((LIGHT_LOAD, WINDOWS[0].1), few));
    sides.push(Box::new(OverHttp { name: "no memory, 1 node", ..forgetful }));
    Ok(Sides::beside_floor(sides).remark(remark))
}

/// What Postgres does while nobody asks the nodes anything, in words.
async fn at_rest(storage: &Storage, nodes: &OverHttp) -> anyhow::Result<String> {
    set_window(storage, WINDOWS[0].1).await?;
    // The polls that the warm-up asked for are over then.
    sleep(REST).await;
    let processes = Processes { own: Vec::new(), postmaster: nodes.postmaster };
    let before = processes.read()?;
    sleep(REST).await;
    let used = processes.read()?.since(&before).postgres.map(|used| {
        let share = used.as_secs_f64() / REST.as_secs_f64();
        format!("; at rest Postgres uses {:.1} ms of CPU in a second", share * 1000.0)
    });
    let count = nodes.servers.len();
    Ok(format!("{count} nodes, whose CPU time is added up{}", used.unwrap_or_default()))
}

/// Revocations by a node, which wait for the window and for nothing that could be a floor.
pub async fn revoking(place: &Place, postgres: &Postgres, clients: usize) -> anyhow::Result<Sides> {
    let storage = Storage::Postgres(postgres.url().to_owned());
    let ids = storage.ids().await?;
    let revoking = OverHttp {
        name: SERVER,
        servers: vec![Rc::clone(&place.server)],
        postmaster: postgres.postmaster,
        question: &REVOKE,
        requests: ids.iter().map(|id| revocation(WORKSPACE, *id, &place.token)).collect(),
        connections: clients,
        turn: Rc::default(),
    };
    let sides = WINDOWS.map(|(name, window)| {
        // They take turns with the same keys: a clone shares them, and which is the next.
        let (storage, side) = (storage.clone(), revoking.clone());
        Box::new(Windowed { name, window, storage, side }) as Box<dyn Side>
    });
    let sides = Sides { has_floor: false, ..Sides::beside_floor(sides.into()) };
    Ok(sides.remark("no floor: it is the window that is waited for"))
}

/// A side that has the window of its database set before each slice.
struct Windowed {
    name: &'static str,
    window: &'static str,
    storage: Storage,
    side: OverHttp,
}

#[async_trait(?Send)]
impl Side for Windowed {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn slice(&mut self, time: Duration) -> anyhow::Result<Sample> {
        set_window(&self.storage, self.window).await?;
        self.side.slice(time).await
    }

    async fn end(self: Box<Self>) -> anyhow::Result<()> {
        Box::new(self.side).end().await
    }
}
