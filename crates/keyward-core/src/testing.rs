//! Records for the unit tests of this crate.

use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use uuid::Uuid;

use crate::clock::{Reading, SeededEntropy, Sleep, Timer, Timestamp};
use crate::details::Details;
use crate::key::{ApiKey, KeyName, Status};
use crate::secret::KeyFormat;

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
        details: Details::default(),
    }
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
