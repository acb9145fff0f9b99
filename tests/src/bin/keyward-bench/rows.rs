//! What is measured. A new row is one more entry here.

use crate::goal::{Aim, Goal};
use crate::questions::{FORWARD_AUTH, Question, VERIFY};

/// One row of the table.
pub struct Row {
    pub name: &'static str,
    /// How many ask at once, each one thing at a time. `None` for as many as `--connections` says.
    pub clients: Option<usize>,
    pub what: What,
    pub aims: &'static [Aim],
}

/// What a row does, and beside what.
#[derive(Clone, Copy)]
pub enum What {
    /// A verification that is answered from memory, beside a bare warp route.
    VerifyFromMemory(&'static Question),
    /// A verification that is answered from memory, beside one of a server that does not keep when keys
    /// are used.
    VerifyAndNote(&'static Question),
    /// A verification that reads Postgres, beside `pgbench` with the same prepared SELECT.
    VerifyFromPostgres,
    /// A creation, beside the same synced `WriteBatch` of RocksDB's.
    CreateInRocksDb,
    /// A creation, beside `pgbench` with the same prepared INSERT.
    CreateInPostgres,
    /// A verification on Postgres with a window, without one and without memory, beside a bare warp
    /// route.
    VerifyInCluster,
    /// A verification that is refused, for each of the reasons, beside one that is not.
    Refuse,
    /// A lookup of a key that is not remembered, among very many, beside reads of RocksDB alone.
    VerifyCold,
    /// A whole list, beside a bare warp route that streams the same bytes.
    List,
    /// A start on very many keys, beside a process that opens RocksDB alone.
    Start,
    /// What a remembered key takes in memory, beside what its record needs.
    MemoryPerKey(f64),
    /// What a key takes on the disk, beside the bytes of its entries.
    DiskPerKey(f64),
    /// A verification from memory where there are more and more keys.
    GrowKeys,
    /// A verification from memory over more and more connections.
    GrowConnections,
    /// A verification from memory at this share of the peak rate, beside a bare warp route.
    AtRate(f64),
    /// A revocation in RocksDB, beside a synced write.
    RevokeInRocksDb,
    /// A revocation on Postgres, with and without a window. What it waits for has no floor.
    RevokeInCluster,
}

/// What the driver alone and the whole server are called in the table.
pub const DRIVER: &str = "driver alone";
pub const SERVER: &str = "keyward";
/// What the sides of a cluster are called.
pub const WINDOWED: &str = "window 250ms";
pub const WINDOWLESS: &str = "window 0";
pub const LIGHT_LOAD: &str = "window 250ms, 1 a node";

/// What sides are refused for.
pub const MALFORMED: &str = "malformed";
pub const UNKNOWN: &str = "unknown";
pub const REVOKED: &str = "revoked";
/// What the sides are called that differ in the number of keys, and in that of connections.
pub const FEW_KEYS: &str = "few keys";
pub const KEYS: &str = "as many as --keys";
pub const MOST_KEYS: &str = "as many as --most-keys";
pub const CONNECTIONS: [(&str, usize); 4] =
    [("1 connection", 1), ("8 connections", 8), ("64 connections", 64), (MOST_CONNECTIONS, 512)];
const MOST_CONNECTIONS: &str = "512 connections";

/// All rows, in the order of the table.
pub const ROWS: &[Row] = &[
    row(
        "forward-auth, cache hit",
        None,
        What::VerifyFromMemory(&FORWARD_AUTH),
        &[aim(SERVER, Goal::Cpu(1.10)), aim(SERVER, Goal::PerSecond(0.92))],
    ),
    row(
        "verify, cache hit",
        None,
        What::VerifyFromMemory(&VERIFY),
        &[aim(SERVER, Goal::Cpu(1.15))],
    ),
    row("forward-auth, last use", None, What::VerifyAndNote(&FORWARD_AUTH), &[]),
    row(
        "forward-auth, refused",
        None,
        What::Refuse,
        &[
            aim(MALFORMED, Goal::Cpu(1.0)),
            aim(UNKNOWN, Goal::Cpu(1.2)),
            aim(REVOKED, Goal::Cpu(1.2)),
        ],
    ),
    row("forward-auth, at 50 % of the peak", None, What::AtRate(0.5), &[]),
    row("forward-auth, at 80 % of the peak", None, What::AtRate(0.8), &[]),
    row("create, rocksdb, 1 client", Some(1), What::CreateInRocksDb, CREATED),
    row("create, rocksdb, 32 clients", Some(32), What::CreateInRocksDb, CREATED),
    row("create, rocksdb, 256 clients", Some(256), What::CreateInRocksDb, CREATED),
    // Starts come first of what is done with very many keys, because no other may use them then, and
    // what remembers comes last, because it stays.
    row("start", Some(1), What::Start, &[aim(SERVER, Goal::Time(1.2))]),
    row("cold verify", Some(32), What::VerifyCold, &[aim(DRIVER, Goal::PerSecond(0.7))]),
    row(
        "list 100,000 keys",
        Some(1),
        What::List,
        &[
            aim(SERVER, Goal::PerSecond(0.5)),
            aim(SERVER, Goal::Growth(16.0)),
            aim(SERVER, Goal::FirstByte(20.0)),
        ],
    ),
    row("bytes on disk per key", None, What::DiskPerKey(1.6), &[]),
    row("memory per cached key", None, What::MemoryPerKey(2.0), &[]),
    row(
        "forward-auth, growing with keys",
        None,
        What::GrowKeys,
        &[aim(KEYS, Goal::Cpu(1.3)), aim(MOST_KEYS, Goal::Cpu(1.3))],
    ),
    row(
        "forward-auth, growing with connections",
        Some(512),
        What::GrowConnections,
        &[aim(MOST_CONNECTIONS, Goal::Cpu(1.3))],
    ),
    // The last one of these keys, because it uses them up.
    row("revoke, rocksdb", Some(1), What::RevokeInRocksDb, &[aim(SERVER, Goal::Time(1.2))]),
    row("create, postgres, 1 client", Some(1), What::CreateInPostgres, CREATED),
    row("create, postgres, 32 clients", Some(32), What::CreateInPostgres, CREATED),
    row("forward-auth, postgres asked each time", Some(32), What::VerifyFromPostgres, &[]),
    row(
        "forward-auth, postgres, 3 nodes",
        None,
        What::VerifyInCluster,
        &[
            aim(WINDOWED, Goal::Cpu(1.15)),
            aim(WINDOWLESS, Goal::Cpu(1.6)),
            beside(LIGHT_LOAD, aim(WINDOWED, Goal::PostgresLoad(1.5))),
        ],
    ),
    // The last one, because it uses keys up.
    row(
        "revoke, postgres",
        Some(32),
        What::RevokeInCluster,
        &[aim(WINDOWED, Goal::P99(250.0 + 60.0)), aim(WINDOWLESS, Goal::P99(60.0))],
    ),
];

/// The floor has neither HTTP nor JSON to do. The driver alone does what it does.
const CREATED: &[Aim] = &[aim(DRIVER, Goal::PerSecond(0.85)), aim(SERVER, Goal::PerSecond(0.85))];

const fn row(name: &'static str, clients: Option<usize>, what: What, aims: &'static [Aim]) -> Row {
    Row { name, clients, what, aims }
}

const fn aim(side: &'static str, goal: Goal) -> Aim {
    Aim { side, goal, beside: None }
}

const fn beside(other: &'static str, aim: Aim) -> Aim {
    Aim { beside: Some(other), ..aim }
}
