//! The primitives of what threads share on the way of a verification.
//!
//! They come from one place, so that the same files can be compiled a second time with primitives
//! that try every interleaving.

pub use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
pub use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use event_listener::Event;
