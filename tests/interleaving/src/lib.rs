//! The cell of remembered records and the proof beside it, compiled a second time.
//!
//! The files are the core's own. They take their locks and atomics from `crate::sync`, which is
//! shuttle's here: each use of one is a point at which another thread may go on, and shuttle chooses
//! which. So nothing of shuttle is in what is shipped, not even behind a feature. (What only counts,
//! or says that a poll is wanted, stays std's: points at those would be too many to try all orders.)
//!
//! Shuttle takes memory to be the same for all threads at any moment. What orderings weaker than
//! that allow is not searched here; the locks of the cell leave nothing to them, and the proof's are
//! argued for where they stand.

use keyward_core::{clock, details, id, key, secret, store};

#[path = "../../../crates/keyward-core/src/cache.rs"]
pub mod cache;
#[path = "../../../crates/keyward-core/src/freshness.rs"]
pub mod freshness;
#[path = "../../../crates/keyward-core/src/proof.rs"]
pub mod proof;
pub mod sync;
pub mod world;
