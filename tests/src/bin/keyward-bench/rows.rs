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
    row("create, rocksdb, 1 client", Some(1), What::CreateInRocksDb, CREATED),
    row("create, rocksdb, 32 clients", Some(32), What::CreateInRocksDb, CREATED),
    row("create, rocksdb, 256 clients", Some(256), What::CreateInRocksDb, CREATED),
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
