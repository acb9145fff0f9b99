//! The clocks of the machine and the timers of the runtime.

use std::time::Duration;

use keyward_core::clock::{Reading, Sleep, Timer};

/// Waits on the runtime.
#[derive(Debug, Clone, Copy)]
pub struct SystemTimer;

impl Timer for SystemTimer {
    fn read(&self) -> Reading {
        Reading::now()
    }

    fn sleep(&self, time: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(time))
    }
}
