//! One row: its sides, made and measured.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_trait::async_trait;

use crate::floor::Template;
use crate::http::Connection;
use crate::over_http::{OverHttp, judge};
use crate::pgbench::{Pgbench, Script};
use crate::places::{Place, Places};
use crate::postgres::Postgres;
use crate::report::{RowResult, Sample, Settings};
use crate::rows::{CREATE, FORWARD_AUTH, Question, REVOKE, Row, What, revocation};
use crate::server::{Server, set_window};
use crate::side::{Side, in_turns};
use crate::storage::Storage;
use crate::worker::{Order, Work, Worker};

/// What the driver alone and the whole server are called in the table.
const DRIVER: &str = "driver alone";
const SERVER: &str = "keyward";

/// The sides of a row, the floor first unless it is missing.
struct Sides {
    sides: Vec<Box<dyn Side>>,
    /// Why the floor is missing.
    remark: Option<&'static str>,
}

/// Measures `row`.
pub async fn measure(
    row: &'static Row,
    places: &mut Places,
    settings: &Settings,
) -> anyhow::Result<RowResult> {
    let clients = row.clients.unwrap_or(settings.connections);
    let sides = match row.what {
        What::VerifyFromMemory(question) => from_memory(question, places, clients).await,
        What::VerifyAndNote(question) => noting(question, places, clients).await,
        What::CreateInRocksDb => in_rocksdb(row, places, clients).await,
        What::CreateInPostgres | What::VerifyFromPostgres => match places.postgres().await? {
            Ok((place, postgres)) => in_postgres(row.what, place, postgres, clients).await,
            Err(reason) => return Ok(RowResult::absent(row.name, clients, reason)),
        },
        What::VerifyInCluster | What::RevokeInCluster => match places.postgres().await? {
            Ok((place, postgres)) => in_cluster(row.what, place, postgres, clients).await,
            Err(reason) => return Ok(RowResult::absent(row.name, clients, reason)),
        },
    };
    let Sides { sides, remark } = sides.with_context(|| format!("preparing {}", row.name))?;
    let time = Duration::from_secs(settings.seconds_per_slice);
    let measured = in_turns(sides, settings.slices, time)
        .await
        .with_context(|| format!("measuring {}", row.name))?;
    RowResult::new(row.name, clients, measured, remark)
}

/// A server that answers from memory, beside a bare route that answers the same bytes.
async fn from_memory(
    question: &'static Question,
    places: &mut Places,
    clients: usize,
) -> anyhow::Result<Sides> {
    let place = places.rocksdb().await?;
    let keyward = verifying(place, &place.server, question, clients, None);
    // Every key is in memory afterwards, and the number in a request's id about as long as it gets.
    keyward.warm_up().await?;
    let floor = bare(&keyward).await?;
    Ok(Sides { sides: vec![Box::new(floor), Box::new(keyward)], remark: None })
}

/// A server that keeps when keys are used, beside one that does not, each on keys of its own.
async fn noting(
    question: &'static Question,
    places: &mut Places,
    clients: usize,
) -> anyhow::Result<Sides> {
    let mut sides: Vec<Box<dyn Side>> = Vec::new();
    let place = places.without_uses().await?;
    let without = verifying(place, &place.server, question, clients, None);
    let place = places.rocksdb().await?;
    let with = verifying(place, &place.server, question, clients, None);
    for (name, side) in [("last use off", without), ("last use on", with)] {
        side.warm_up().await?;
        sides.push(Box::new(OverHttp { name, ..side }));
    }
    Ok(Sides { sides, remark: None })
}

/// A bare route that is asked what `keyward` is asked, warm.
async fn bare(keyward: &OverHttp) -> anyhow::Result<OverHttp> {
    let OverHttp { question, connections, .. } = *keyward;
    let server = start_floor(question, &keyward.server, &keyward.requests[0]).await?;
    let floor = OverHttp {
        name: "bare warp",
        server: Rc::new(server),
        postmaster: None,
        question,
        requests: Rc::clone(&keyward.requests),
        connections,
        turn: Rc::default(),
    };
    floor.warm_up().await?;
    Ok(floor)
}

/// A floor that answers what the real server answers to `request`, to the byte.
async fn start_floor(
    question: &Question,
    keyward: &Server,
    request: &[u8],
) -> anyhow::Result<Server> {
    let mut connection = Connection::open(keyward.address()).await?;
    let answer = connection.ask(request).await?;
    judge(question, &answer)?;
    let template = Template::new(&answer, question)?;
    let floor = Server::start_floor(&template).await?;
    let mut connection = Connection::open(floor.address()).await?;
    let same = connection.ask(request).await?;
    template.check(&same, question)?;
    if same.wire_len != answer.wire_len {
        bail!("{} bytes from the floor, {} from keyward", same.wire_len, answer.wire_len);
    }
    Ok(floor)
}

/// Creations in RocksDB, each side in a directory of its own.
async fn in_rocksdb(row: &Row, places: &mut Places, clients: usize) -> anyhow::Result<Sides> {
    let directory = |side: &str| places.new_directory(&format!("{side} of {}", row.name));
    let raw = Work::RawWrites(directory("raw"));
    let driver = Work::Create(Storage::RocksDb(directory("driver")));
    let start = async |name, work| {
        let order = Order { work, clients, postmaster: None };
        anyhow::Ok(Box::new(Worker::start(name, &order).await?))
    };
    let (raw, driver) = (start("raw writes", raw).await?, start(DRIVER, driver).await?);
    let keyward = creating(places.rocksdb().await?, clients, None);
    Ok(Sides { sides: vec![raw, driver, Box::new(keyward)], remark: None })
}

/// Creations or verifications in Postgres, all sides in the same table.
async fn in_postgres(
    what: What,
    place: &Place,
    postgres: &Postgres,
    clients: usize,
) -> anyhow::Result<Sides> {
    let postmaster = postgres.postmaster;
    let storage = Storage::Postgres(postgres.url().to_owned());
    let (script, work, keyward) = match what {
        What::VerifyFromPostgres => (
            Script::Select(place.keys.len()),
            Work::Find(storage),
            verifying(place, forgetful(place)?, &FORWARD_AUTH, clients, postmaster),
        ),
        _ => (Script::Insert, Work::Create(storage), creating(place, clients, postmaster)),
    };
    let driver = Worker::start(DRIVER, &Order { work, clients, postmaster }).await?;
    let mut sides: Vec<Box<dyn Side>> = Vec::new();
    if let Some(program) = &postgres.pgbench {
        let floor = Pgbench::new(program, postgres.url(), postmaster, clients, script)?;
        sides.push(Box::new(floor));
    }
    let remark = sides.is_empty().then_some("no floor: pgbench is not installed here");
    sides.push(Box::new(driver));
    sides.push(Box::new(keyward));
    Ok(Sides { sides, remark })
}

/// Verifications or revocations of a node whose window is changed from slice to slice.
async fn in_cluster(
    what: What,
    place: &Place,
    postgres: &Postgres,
    clients: usize,
) -> anyhow::Result<Sides> {
    let postmaster = postgres.postmaster;
    let storage = Storage::Postgres(postgres.url().to_owned());
    let windowed = |name, window, side| {
        Box::new(Windowed { name, window, storage: storage.clone(), side }) as Box<dyn Side>
    };
    if let What::RevokeInCluster = what {
        let requests: Rc<[Vec<u8>]> =
            storage.ids().await?.iter().map(|id| revocation(*id, &place.token)).collect();
        let turn = Rc::default();
        let revoking = || OverHttp {
            name: SERVER,
            server: Rc::clone(&place.server),
            postmaster,
            question: &REVOKE,
            requests: Rc::clone(&requests),
            connections: clients,
            turn: Rc::clone(&turn),
        };
        let sides = WINDOWS.map(|(name, window)| windowed(name, window, revoking())).into();
        return Ok(Sides { sides, remark: Some("no floor: it is the window that is waited for") });
    }
    let verifying = |server| verifying(place, server, &FORWARD_AUTH, clients, postmaster);
    let keyward = verifying(&place.server);
    keyward.warm_up().await?;
    let mut sides: Vec<Box<dyn Side>> = vec![Box::new(bare(&keyward).await?)];
    sides.extend(WINDOWS.map(|(name, window)| windowed(name, window, verifying(&place.server))));
    sides.push(Box::new(OverHttp { name: "no memory", ..verifying(forgetful(place)?) }));
    Ok(Sides { sides, remark: None })
}

/// The windows that are compared, and what their sides are called.
const WINDOWS: [(&str, &str); 2] = [("window 250ms", "250ms"), ("window 0", "0s")];

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

/// The server without memory.
fn forgetful(place: &Place) -> anyhow::Result<&Rc<Server>> {
    place.forgetful.as_ref().context("the place has no server without memory")
}

fn verifying(
    place: &Place,
    server: &Rc<Server>,
    question: &'static Question,
    connections: usize,
    postmaster: Option<u32>,
) -> OverHttp {
    let requests = place.keys.iter().map(|key| (question.request)(key)).collect();
    let (server, turn) = (Rc::clone(server), Rc::default());
    OverHttp { name: SERVER, server, postmaster, question, requests, connections, turn }
}

fn creating(place: &Place, connections: usize, postmaster: Option<u32>) -> OverHttp {
    let requests = Rc::new([(CREATE.request)(&place.token)]);
    let (server, turn) = (Rc::clone(&place.server), Rc::default());
    OverHttp { name: SERVER, server, postmaster, question: &CREATE, requests, connections, turn }
}
