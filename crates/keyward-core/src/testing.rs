//! Records for the unit tests of this crate.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use uuid::Uuid;

use crate::audit::{Origin, Trace};
use crate::clock::{Reading, SeededEntropy, Sleep, Timer, Timestamp};
use crate::details::SparseDetails;
use crate::id::EventId;
use crate::key::{ApiKey, KeyName, Status};
use crate::secret::{KeyDigest, KeyFormat};
use crate::store::{Addition, StoredKey};

/// An active key with the id `n`, in the workspace `workspace`.
pub fn key(workspace: u128, n: u128) -> ApiKey {
    let format = KeyFormat::new("sk_live").unwrap();
    let at = Timestamp::from_micros(1_705_311_000_000_000).unwrap();
    ApiKey {
        id: Uuid::from_u128(n).into(),
        workspace_id: Uuid::from_u128(workspace).into(),
        name: KeyName::new("a key").unwrap(),
        key_prefix: format.mint(&SeededEntropy::new(1)).unwrap().key_prefix(),
        status: Status::Active,
        created_by: Uuid::from_u128(77).into(),
        created_at: at,
        updated_at: at,
        named_scopes: None,
        details: SparseDetails::default(),
    }
}

/// What `future` gives, which waits for nothing.
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

/// What an event is made of, of which no more than the time is said.
pub fn trace(at: Timestamp) -> Trace {
    let id = EventId::mint(at, &SeededEntropy::new(1)).unwrap();
    Trace { id, at, account: None, credential: None, origin: Origin::default(), key: None }
}

/// The addition of a record.
pub fn addition(key: &ApiKey, digest: KeyDigest) -> Addition {
    let stored = StoredKey { key: key.clone(), digest };
    Addition { stored, trace: trace(key.created_at), once: None }
}

/// Clocks that stand still until a test moves them. Waits end when they have come that far.
#[derive(Debug, Clone)]
pub struct ManualTimer(Arc<Mutex<Reading>>);

impl Default for ManualTimer {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Reading { boot: 1, ahead: 1_705_311_000_000_000_000 })))
    }
}

impl ManualTimer {
    /// Moves both clocks on.
    pub fn advance(&self, time: Duration) {
        self.0.lock().unwrap().boot += u64::try_from(time.as_nanos()).unwrap();
    }

    /// Moves the clock on the wall on, and not the other.
    pub fn sleep_unnoticed(&self, time: Duration) {
        self.0.lock().unwrap().ahead += i64::try_from(time.as_nanos()).unwrap();
    }
}

impl Timer for ManualTimer {
    fn read(&self) -> Reading {
        *self.0.lock().unwrap()
    }

    fn sleep(&self, time: Duration) -> Sleep {
        let timer = Self::clone(self);
        let until = self.read().boot + u64::try_from(time.as_nanos()).unwrap();
        Box::pin(std::future::poll_fn(move |_| {
            if timer.read().boot >= until { Poll::Ready(()) } else { Poll::Pending }
        }))
    }
}
