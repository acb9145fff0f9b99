//! Creations, and what else is done in the storage each time.

use super::{Sides, creating, forgetful, verifying};
use crate::over_http::OverHttp;
use crate::pgbench::{Pgbench, Script};
use crate::places::{Place, Places};
use crate::postgres::Postgres;
use crate::questions::{FORWARD_AUTH, REVOKE, WORKSPACE, revocation};
use crate::rows::{DRIVER, Row, What};
use crate::side::Side;
use crate::storage::Storage;
use crate::worker::{Order, Work, Worker};

/// Creations in RocksDB, each side in a directory of its own.
pub async fn in_rocksdb(row: &Row, places: &mut Places, clients: usize) -> anyhow::Result<Sides> {
    let directory = |side: &str| places.new_directory(&format!("{side} of {}", row.name));
    let raw = Work::RawWrites(directory("raw"));
    let driver = Work::Create(Storage::RocksDb(directory("driver")));
    let raw = Worker::start("raw writes", &Order { work: raw, clients, postmaster: None }).await?;
    let driver = Worker::start(DRIVER, &Order { work: driver, clients, postmaster: None }).await?;
    let keyward = creating(places.rocksdb().await?, clients, None);
    Ok(Sides::beside_floor(vec![Box::new(raw), Box::new(driver), Box::new(keyward)]))
}

/// Revocations in RocksDB, beside synced writes of as much as a creation.
pub async fn revoking(row: &Row, places: &mut Places, clients: usize) -> anyhow::Result<Sides> {
    let raw = Work::RawWrites(places.new_directory(&format!("raw of {}", row.name)));
    let raw = Worker::start("raw writes", &Order { work: raw, clients, postmaster: None }).await?;
    let directory = places.new_directory("data");
    let place = places.rocksdb().await?;
    let ids = Storage::RocksDb(directory).ids().await?;
    let keyward = OverHttp {
        question: &REVOKE,
        requests: ids.iter().map(|id| revocation(WORKSPACE, *id, &place.token)).collect(),
        ..creating(place, clients, None)
    };
    Ok(Sides::beside_floor(vec![Box::new(raw), Box::new(keyward)]))
}

/// Creations or verifications in Postgres, all sides in the same table.
pub async fn in_postgres(
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
    let rest: [Box<dyn Side>; 2] = [Box::new(driver), Box::new(keyward)];
    let Some(program) = &postgres.pgbench else {
        let sides = Sides { has_floor: false, ..Sides::beside_floor(rest.into()) };
        return Ok(sides.remark("no floor: pgbench is not installed here"));
    };
    let floor = Pgbench::new(program, postgres.url(), postmaster, clients, script)?;
    let mut sides: Vec<Box<dyn Side>> = vec![Box::new(floor)];
    sides.extend(rest);
    Ok(Sides::beside_floor(sides))
}
