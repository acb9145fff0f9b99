//! Time and randomness. Both come from outside, so that tests decide them.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SecondsFormat, Utc};
use rand::{SeedableRng as _, TryRng as _};

use crate::store::BoxError;

/// A moment in UTC, in whole microseconds, which is the finest that every driver keeps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment this many microseconds after 1970-01-01T00:00:00Z, or `None` outside the years
    /// that RFC 3339 can write (0000 to 9999).
    pub fn from_micros(micros: i64) -> Option<Self> {
        let time = DateTime::from_timestamp_micros(micros)?;
        let year = chrono::Datelike::year(&time);
        (0..=9999).contains(&year).then_some(Self(micros))
    }

    /// The last moment that can be written.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn as_micros(self) -> i64 {
        self.0
    }
}

/// RFC 3339 with a `Z`: no fraction where it is zero, else six digits.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = DateTime::from_timestamp_micros(self.0).unwrap_or(DateTime::UNIX_EPOCH);
        let format = if self.0.rem_euclid(1_000_000) == 0 {
            SecondsFormat::Secs
        } else {
            SecondsFormat::Micros
        };
        f.write_str(&time.to_rfc3339_opts(format, true))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// The present, by the clock on the wall.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one room where the time is asked for")]
    fn now(&self) -> Timestamp {
        let now: DateTime<Utc> = std::time::SystemTime::now().into();
        Timestamp(now.timestamp_micros())
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `at`.
    pub fn new(at: Timestamp) -> Self {
        Self(AtomicI64::new(at.0))
    }

    /// Moves the clock on by this many microseconds.
    pub fn advance(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// The source of randomness failed; nothing may be minted.
#[derive(Debug, thiserror::Error)]
#[error("the operating system's random generator failed")]
pub struct EntropyError(#[source] BoxError);

impl EntropyError {
    /// The source failed for this reason.
    pub fn new(cause: impl Into<BoxError>) -> Self {
        Self(cause.into())
    }
}

/// Where randomness comes from.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` with random bytes.
    ///
    /// # Errors
    ///
    /// When the source fails; what `bytes` holds then must not be used.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError>;
}

/// The operating system's generator: the one that keys are made with.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        rand::rngs::SysRng.try_fill_bytes(bytes).map_err(EntropyError::new)
    }
}

/// A generator that repeats itself from a seed, for tests.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<rand::rngs::StdRng>);

impl SeededEntropy {
    /// The generator that this seed begins.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(rand::rngs::StdRng::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        let mut generator = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        rand::Rng::fill_bytes(&mut *generator, bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_without_a_zero_fraction_and_else_with_six_digits() {
        let whole = Timestamp::from_micros(1_705_311_000_000_000).unwrap();
        assert_eq!(whole.to_string(), "2024-01-15T09:30:00Z");
        let fraction = Timestamp::from_micros(1_705_311_000_000_100).unwrap();
        assert_eq!(fraction.to_string(), "2024-01-15T09:30:00.000100Z");
    }

    #[test]
    fn a_time_that_cannot_be_written_is_no_time() {
        assert!(Timestamp::from_micros(i64::MAX).is_none());
        assert!(Timestamp::from_micros(253_402_300_799_999_999).is_some());
        assert!(Timestamp::from_micros(253_402_300_800_000_000).is_none());
    }
}
