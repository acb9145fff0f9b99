//! One row: its sides, made and measured.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::floor::Template;
use crate::http::Connection;
use crate::over_http::{OverHttp, judge};
use crate::pgbench::{Pgbench, Script};
use crate::places::{Place, Places};
use crate::postgres::Postgres;
use crate::report::{RowResult, Settings};
use crate::rows::{CREATE, FORWARD_AUTH, Question, Row, What};
use crate::server::Server;
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
        What::CreateInRocksDb => in_rocksdb(row, places, clients).await,
        What::CreateInPostgres | What::VerifyFromPostgres => match places.postgres().await? {
            Ok((place, postgres)) => in_postgres(row.what, place, postgres, clients).await,
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
    let keyward = verifying(place, question, clients, None);
    // Every key is in memory afterwards, and the number in a request's id about as long as it gets.
    keyward.warm_up().await?;
    let floor = start_floor(question, &place.server, &keyward.requests[0]).await?;
    let floor = OverHttp {
        name: "bare warp",
        server: Rc::new(floor),
        postmaster: None,
        question,
        requests: Rc::clone(&keyward.requests),
        connections: clients,
    };
    floor.warm_up().await?;
    Ok(Sides { sides: vec![Box::new(floor), Box::new(keyward)], remark: None })
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
            verifying(place, &FORWARD_AUTH, clients, postmaster),
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

fn verifying(
    place: &Place,
    question: &'static Question,
    connections: usize,
    postmaster: Option<u32>,
) -> OverHttp {
    let requests = place.keys.iter().map(|key| (question.request)(key)).collect();
    let server = Rc::clone(&place.server);
    OverHttp { name: SERVER, server, postmaster, question, requests, connections }
}

fn creating(place: &Place, connections: usize, postmaster: Option<u32>) -> OverHttp {
    let requests = Rc::new([(CREATE.request)(&place.token)]);
    let server = Rc::clone(&place.server);
    OverHttp { name: SERVER, server, postmaster, question: &CREATE, requests, connections }
}
