//! Time and randomness. Both come from outside, so that tests decide them.

use std::fmt;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::{SeedableRng as _, TryRng as _};
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::store::BoxError;

/// A moment in UTC, in whole microseconds, which is the finest that every driver keeps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment this many microseconds after 1970-01-01T00:00:00Z, or `None` outside the years
    /// that RFC 3339 can write (0000 to 9999).
    pub fn from_micros(micros: i64) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&micros).then_some(Self(micros))
    }

    /// The first moment that can be written.
    pub const MIN: Self = Self(-62_167_219_200_000_000);
    /// The last moment that can be written.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// Bytes of the longest text, `2024-01-15T09:30:00.000100Z`.
    pub const TEXT_LEN: usize = 27;

    /// Writes the text that [`fmt::Display`] gives into `buffer`, without the machinery of
    /// formatting and of calendars that know more: every record that is shown has two times.
    pub fn encode(self, buffer: &mut [u8; Self::TEXT_LEN]) -> &str {
        *buffer = *b"0000-00-00T00:00:00.000000Z";
        let (year, month, day) = date(self.0.div_euclid(DAY_MICROS));
        let (seconds, micros) = {
            let time = self.0.rem_euclid(DAY_MICROS);
            (time / 1_000_000, time % 1_000_000)
        };
        digits(&mut buffer[0..4], year);
        digits(&mut buffer[5..7], month);
        digits(&mut buffer[8..10], day);
        digits(&mut buffer[11..13], seconds / 3_600);
        digits(&mut buffer[14..16], seconds / 60 % 60);
        digits(&mut buffer[17..19], seconds % 60);
        digits(&mut buffer[20..26], micros);
        let mut len = Self::TEXT_LEN;
        if micros == 0 {
            buffer[19] = b'Z';
            len = 20;
        }
        // Only ASCII was written.
        str::from_utf8(&buffer[..len]).unwrap_or_default()
    }

    /// The moment that an RFC 3339 text names, in whole microseconds: a finer fraction is cut off.
    /// `None` where it is none, or outside the years that can be written in UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let time = DateTime::parse_from_rfc3339(text).ok()?;
        Self::from_micros(time.timestamp_micros())
    }

    /// The moment that is later by `time`, at most [`Timestamp::MAX`].
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros).min(Self::MAX.0))
    }

    /// The moment that is earlier by `time`; the beginning of the year 0000 where that cannot be written.
    #[must_use]
    pub fn minus(self, time: Duration) -> Self {
        let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros(self.0.saturating_sub(micros)).unwrap_or(Self::MIN)
    }

    /// The time since an earlier moment; nothing where that is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn as_micros(self) -> i64 {
        self.0
    }
}

/// RFC 3339 with a `Z`: no fraction where it is zero, else six digits.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode(&mut [0; Self::TEXT_LEN]))
    }
}

/// Year, month and day of the Gregorian calendar, so many days after 1970-01-01: `civil_from_days` of
/// Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms". It counts years from March, so that
/// the day which may be missing is a year's last.
const fn date(days: i64) -> (i64, i64, i64) {
    let since_march_0000 = days + 719_468;
    let (era, day) = (since_march_0000.div_euclid(146_097), since_march_0000.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + (month <= 2) as i64, month, day)
}

const DAY_MICROS: i64 = 86_400_000_000;

/// Fills `place` with the decimal digits of `number`, zeros first.
fn digits(place: &mut [u8], number: i64) {
    let mut number = number.unsigned_abs();
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A minute of UTC, as fine as last uses are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Minute(u32);

impl Minute {
    /// No minute. In its place nothing is noted, and it is before every other.
    pub const NONE: Self = Self(0);

    /// The minute in which `time` lies; the first one of 1970 is the earliest, and stands for all before.
    pub fn of(time: Timestamp) -> Self {
        Self(u32::try_from(time.0 / MINUTE_MICROS).unwrap_or(0).max(1))
    }

    /// The moment at which it begins.
    pub const fn start(self) -> Timestamp {
        Timestamp(self.0 as i64 * MINUTE_MICROS)
    }

    /// The number that [`Minute::from_number`] reads.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The minute with this number.
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }
}

const MINUTE_MICROS: i64 = 60_000_000;

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

/// What two clocks of the machine show at one moment.
///
/// The first is never set, and goes on while the machine is suspended (`CLOCK_BOOTTIME`, which
/// [`std::time::Instant`] is not): times between moments are taken from it alone. The second is the
/// clock on the wall. Where a machine is put to sleep without its own knowledge, the first may stand
/// still; the second is set right when it wakes, and then they are farther apart than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Nanoseconds since the machine was started; never 0.
    pub boot: u64,
    /// Nanoseconds by which the clock on the wall, counted from 1970, is ahead of that.
    pub ahead: i64,
}

impl Reading {
    /// What the clocks show now.
    ///
    /// They are read one after the other, and a pause in between makes the wall's seem farther ahead
    /// than it is. So of a reading that others are to be compared with, use [`Reading::steady`].
    pub fn now() -> Self {
        #[cfg(target_os = "linux")]
        const SINCE_BOOT: ClockId = ClockId::Boottime;
        // There it counts the time of sleep too.
        #[cfg(not(target_os = "linux"))]
        const SINCE_BOOT: ClockId = ClockId::Monotonic;

        let boot = nanoseconds(clock_gettime(SINCE_BOOT));
        let wall = nanoseconds(clock_gettime(ClockId::Realtime));
        Self { boot: boot.unsigned_abs().max(1), ahead: wall.saturating_sub(boot) }
    }

    /// What the clock on the wall shows.
    pub fn wall(self) -> Timestamp {
        let nanos = i64::try_from(self.boot).unwrap_or(i64::MAX).saturating_add(self.ahead);
        Timestamp::from_micros(nanos / 1_000).unwrap_or(Timestamp::MAX)
    }

    /// As [`Reading::now`], taken twice: it is the earlier moment, with the wall's clock as little
    /// ahead as either says. A pause between the two clocks can then hide no jump that comes later.
    pub fn steady(timer: &dyn Timer) -> Self {
        let (first, second) = (timer.read(), timer.read());
        Self { boot: first.boot, ahead: first.ahead.min(second.ahead) }
    }
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

/// A wait that is under way.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where waits come from, and the moments between which they lie.
pub trait Timer: Send + Sync {
    /// What the clocks show now.
    fn read(&self) -> Reading;

    /// Ends after `time`, never before, and not much later.
    fn sleep(&self, time: Duration) -> Sleep;
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
    fn a_time_is_written_as_the_calendar_has_it() {
        let first = Timestamp::from_micros(-62_167_219_200_000_000).unwrap();
        assert_eq!(first.to_string(), "0000-01-01T00:00:00Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999999Z");
        let mut micros = first.as_micros() + 1;
        while let Some(time) = Timestamp::from_micros(micros) {
            let expected = DateTime::from_timestamp_micros(micros).unwrap();
            assert_eq!(time.to_string(), expected.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string());
            micros += 86_400_000_000 * 31 + 12_345_678_901;
        }
    }

    #[test]
    fn a_minute_begins_with_its_first_second() {
        let start = |text| Minute::of(Timestamp::parse(text).unwrap()).start().to_string();
        for second in ["2024-01-15T09:30:00Z", "2024-01-15T09:30:59.999999Z"] {
            assert_eq!(start(second), "2024-01-15T09:30:00Z");
        }
        assert_eq!(start("9999-12-31T23:59:59Z"), "9999-12-31T23:59:00Z");
        for early in ["0000-01-01T00:00:00Z", "1970-01-01T00:00:00Z"] {
            assert_ne!(Minute::of(Timestamp::parse(early).unwrap()), Minute::NONE);
        }
    }

    #[test]
    fn a_time_that_cannot_be_written_is_no_time() {
        assert!(Timestamp::from_micros(i64::MAX).is_none());
        assert!(Timestamp::from_micros(253_402_300_799_999_999).is_some());
        assert!(Timestamp::from_micros(253_402_300_800_000_000).is_none());
    }
}
