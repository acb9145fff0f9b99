//! What the core takes from one place, with a choice of the next thread at each use.

pub use event_listener::EventListener;
/// Says when a record was used, which decides nothing here: points at it would only lengthen the search.
pub use std::sync::atomic::AtomicU32;

pub use shuttle::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
pub use shuttle::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// An event, before which is listened to another thread may come in between. (Where somebody is woken
/// there is such a point already, at what the waking is about.)
#[derive(Debug, Default)]
pub struct Event(event_listener::Event);

impl Event {
    /// An event to which nobody listens.
    pub const fn new() -> Self {
        Self(event_listener::Event::new())
    }

    /// Listens from now on.
    pub fn listen(&self) -> EventListener {
        shuttle::thread::yield_now();
        self.0.listen()
    }

    /// Wakes so many of those who listen, and says how many.
    pub fn notify(&self, listeners: usize) -> usize {
        self.0.notify(listeners)
    }
}
