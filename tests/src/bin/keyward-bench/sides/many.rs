//! What is done with very many keys.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use keyward_core::key::ApiKey;
use keyward_core::secret::KeyDigest;

use super::Sides;
use crate::bulk;
use crate::floor::Template;
use crate::goal::{Bound, Unit, Verdict};
use crate::http::Connection;
use crate::listing::Listing;
use crate::memory::forget_files;
use crate::multitude::Multitude;
use crate::over_http::OverHttp;
use crate::questions::{FORWARD_AUTH, list};
use crate::report::{RowResult, Sample};
use crate::rows::{DRIVER, SERVER};
use crate::server::Server;
use crate::side::Side;
use crate::starting::Starting;
use crate::statistics::{Spread, ratio};
use crate::worker::{Order, Work, Worker};

/// Keys that are looked up over HTTP where none is remembered.
const LOOKED_UP: usize = 100_000;

/// Starts of the server, beside those of a process that opens the same with RocksDB alone.
pub fn starting(many: &Multitude) -> Sides {
    let raw = Starting::Raw(many.directory.clone());
    let keyward = Starting::Keyward(many.starter.clone());
    Sides::beside_floor(vec![Box::new(raw), Box::new(keyward)])
        .remark("as many starts as a slice has room for, one at least; the files are in memory")
}

/// Lookups of keys that are not remembered, by the driver alone and by the server, beside reads of
/// RocksDB alone.
pub async fn cold(many: &Multitude, clients: usize) -> anyhow::Result<Sides> {
    let (directory, count) = (&many.directory, many.population.count);
    let worker = async |name, work| {
        Worker::start(name, &Order { work, clients, postmaster: None }).await.map(Box::new)
    };
    // The only one that writes; the others read beside it.
    let numbers: Vec<usize> = many.population.spread(LOOKED_UP).collect();
    let server = Rc::new(many.starter.start(&["--cache-entries", "0"]).await?);
    let keyward = OverHttp {
        name: SERVER,
        servers: vec![server],
        postmaster: None,
        question: &FORWARD_AUTH,
        requests: many.requests(&FORWARD_AUTH, &numbers)?,
        connections: clients,
        turn: Rc::default(),
    };
    let sides: [Box<dyn Side>; 3] = [
        worker("RocksDB alone", Work::RawReads(directory.clone(), count)).await?,
        worker(DRIVER, Work::FindAmong(directory.clone(), count)).await?,
        Box::new(keyward),
    ];
    let cold = |side| Box::new(Cold { directory: directory.clone(), side }) as Box<dyn Side>;
    let bytes = bulk::bytes_on_disk(directory)? >> 20;
    let remark = format!(
        "{count} keys in {bytes} MiB of files, which the kernel is told to forget before each slice; \
         64 MiB of block cache on each side"
    );
    Ok(Sides::beside_floor(sides.map(cold).into()).remark(remark))
}

/// A side that finds the files of its store out of memory at the beginning of each slice.
struct Cold {
    directory: PathBuf,
    side: Box<dyn Side>,
}

#[async_trait(?Send)]
impl Side for Cold {
    fn name(&self) -> &'static str {
        self.side.name()
    }

    async fn slice(&mut self, time: Duration) -> anyhow::Result<Sample> {
        forget_files(&self.directory)?;
        self.side.slice(time).await
    }

    async fn end(self: Box<Self>) -> anyhow::Result<()> {
        self.side.end().await
    }
}

/// Lists of a whole workspace, beside a bare route that streams the same bytes from memory.
pub async fn listing(many: &Multitude) -> anyhow::Result<Sides> {
    let server = Rc::new(many.starter.start(&[]).await?);
    let (token, workspace) = many.caller().await?;
    let request = list(&workspace, &token);
    let mut body = Vec::new();
    let mut connection = Connection::open(server.address()).await?;
    connection.stream(&request, |chunk| body.extend_from_slice(chunk)).await?;
    let bytes = body.len();
    let template = Template::of_list(String::from_utf8(body).context("a list is not text")?);
    let floor = Rc::new(Server::start_floor(&template).await?);
    let side = |name, server| {
        let request = request.clone();
        Box::new(Listing { name, server, request, bytes }) as Box<dyn Side>
    };
    let remark = format!(
        "{:.1} MiB each; the first list of a slice is not counted: it fills caches of fixed size",
        ratio(bytes as u64, 1 << 20)
    );
    Ok(Sides::beside_floor(vec![side("bare warp", floor), side(SERVER, server)]).remark(remark))
}

/// What a remembered record takes, beside what it needs: the record as it is in memory, its texts, and
/// the digest that it is found by.
pub async fn memory_per_key(
    name: &'static str,
    goal: f64,
    many: &mut Multitude,
    clients: usize,
) -> anyhow::Result<RowResult> {
    let ApiKey { name: called, key_prefix, .. } = many.population.record(0)?.key;
    let texts = called.as_str().len() + key_prefix.as_str().len();
    let own = size_of::<ApiKey>() + texts + size_of::<KeyDigest>();
    let remembering = many.remembering(clients).await?;
    let (measured, keys) = (remembering.bytes_per_key, remembering.keys);
    let remark = format!(
        "{measured:.0} bytes for {own}: growth of the resident memory while {keys} keys were \
         remembered, beside the struct, its texts and its digest"
    );
    Ok(beside_own(name, goal, (measured, own), remark))
}

/// What a key takes on the disk, beside the bytes of its entries.
pub fn disk_per_key(name: &'static str, goal: f64, many: &Multitude) -> anyhow::Result<RowResult> {
    let own = bulk::own_bytes(&many.population)?;
    let bytes = ratio(bulk::bytes_on_disk(&many.directory)?, many.population.count as u64);
    let remark = format!(
        "{bytes:.0} bytes for {own}: all files, beside keys and values of the record and its two \
         index entries; no events, nothing left to be compacted"
    );
    Ok(beside_own(name, goal, (bytes, own), remark))
}

fn beside_own(
    name: &'static str,
    goal: f64,
    (bytes, own): (f64, usize),
    remark: String,
) -> RowResult {
    let bound = (Bound::AtMost, goal);
    let measured = Spread::of([bytes / ratio(own as u64, 1)]);
    let verdict = Verdict::new(SERVER, "bytes beside its own", Unit::Ratio, bound, measured);
    RowResult::of_verdicts(name, vec![verdict], vec![remark])
}
