//! Three nodes over one Postgres under load, and everything that may go wrong between them. What the
//! clients saw is judged afterwards: see [`keyward_tests::history`].

mod barrier;
mod chaos;
mod database;
mod fleet;
mod gateway;
mod load;
mod network;
mod nodes;
mod past;
mod promise;
mod report;
mod window;

use std::time::Duration;

/// How long a node answers from memory by default.
const WINDOW: Duration = Duration::from_millis(250);
/// How much longer than the window a deletion takes at most, on a machine that does everything else too.
const LEEWAY: Duration = Duration::from_secs(2);

/// So many revocations or rounds, or `times` more of them in the long form.
fn many(ordinary: usize, times: usize) -> usize {
    let is_long = std::env::var_os("KEYWARD_TEST_LONG").is_some();
    if is_long { ordinary * times } else { ordinary }
}

/// So many rounds of a fault, or some more of them in the long form.
fn rounds(ordinary: usize) -> usize {
    many(ordinary, 5)
}
