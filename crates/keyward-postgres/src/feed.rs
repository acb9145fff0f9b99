//! The feed of changes, and the windows.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use keyward_core::clock::Timestamp;
use keyward_core::secret::KeyDigest;
use keyward_core::store::{Mark, News, Poll, StoreError, WindowChange, Windows};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::time::timeout;
use uuid::Uuid;

use crate::changing::durable;
use crate::connections::{Connections, Repeat};
use crate::error::{Fault, unavailable};

/// Changes that one poll brings at most. Whoever is further behind forgets everything.
const MOST_CHANGES: i64 = 10_000;
/// Longest time for a poll, unless the window is longer.
const POLL_LIMIT: Duration = Duration::from_millis(500);
/// Changes are kept this long; a node that was away for longer forgets everything.
const HISTORY: &str = "1 hour";

/// The connection of the polls. It is their own, so that no crowd in front of the pool makes what is
/// remembered grow old.
#[derive(Debug)]
pub struct Feed {
    options: PgConnectOptions,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    /// Taken out for each poll: what a poll was broken off on is not used again.
    connection: Option<PgConnection>,
    window: Duration,
}

/// One row of a poll: what holds for all of it, and one change.
struct Row {
    newest: i64,
    newest_nonce: Option<Uuid>,
    node_window_ms: i32,
    barrier_window_ms: i32,
    time: DateTime<Utc>,
    standby: bool,
    epoch: Option<i64>,
    nonce: Option<Uuid>,
    digest: Option<Vec<u8>>,
}

impl Feed {
    /// A feed that is not connected yet.
    pub fn new(options: PgConnectOptions) -> Self {
        Self { options, line: Mutex::default() }
    }

    /// What has changed after `after`.
    pub async fn poll(&self, after: Option<Mark>) -> Result<Poll, StoreError> {
        let (kept, window) = {
            let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
            (line.connection.take(), line.window)
        };
        let asked = timeout(window.max(POLL_LIMIT), async {
            let mut connection = if let Some(connection) = kept {
                connection
            } else {
                let made = self.options.connect().await;
                made.map_err(|error| Fault::no_connection(&error))?
            };
            let poll = ask(&mut connection, after).await?;
            Ok::<_, Fault>((connection, poll))
        });
        let (connection, poll) = asked.await.unwrap_or(Err(Fault::Late))?;
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        *line = Line { connection: Some(connection), window: poll.windows.node };
        Ok(poll)
    }

    /// Lets go of the connection.
    pub async fn close(&self) {
        let kept = self.line.lock().unwrap_or_else(PoisonError::into_inner).connection.take();
        if let Some(connection) = kept {
            // A farewell that does not go out is not needed either.
            let _ = timeout(POLL_LIMIT, connection.close()).await;
        }
    }
}

/// One statement, and so one snapshot.
async fn ask(connection: &mut PgConnection, after: Option<Mark>) -> Result<Poll, Fault> {
    let known = after.and_then(|mark| i64::try_from(mark.epoch).ok());
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT clock.epoch AS newest, newest.nonce AS "newest_nonce?", node_window_ms,
               barrier_window_ms, clock_timestamp() AS "time!", pg_is_in_recovery() AS "standby!", change.epoch AS "epoch?",
               change.nonce AS "nonce?", change.digest AS "digest?"
        FROM keyward.change_clock AS clock
        LEFT JOIN keyward.key_changes AS newest ON newest.epoch = clock.epoch
        LEFT JOIN LATERAL (
            SELECT epoch, nonce, digest
            FROM keyward.key_changes
            WHERE epoch >= $1
            ORDER BY epoch
            LIMIT $2
        ) AS change ON true"#,
        known,
        // The one that is known, and one by which too many are told.
        MOST_CHANGES + 2,
    );
    let rows = rows.fetch_all(connection).await.map_err(Fault::from)?;
    let Some(first) = rows.first() else {
        return Err(Fault::Refused(unavailable("the change clock is gone")));
    };
    if first.standby {
        return Err(Fault::Refused(unavailable("the server is a standby")));
    }
    let newest = first.newest_nonce.and_then(|nonce| mark(first.newest, nonce));
    let windows = windows_of(first.node_window_ms, first.barrier_window_ms);
    // The year is one that can be written.
    let time = Timestamp::from_micros(first.time.timestamp_micros()).unwrap_or(Timestamp::MAX);
    Ok(Poll { newest, news: news(after, &rows), windows, time })
}

/// What the rows of a poll say has changed after `after`. The history is the one that is known if it
/// has that very change; and if it has not as many behind it as would have been cut off.
fn news(after: Option<Mark>, rows: &[Row]) -> News {
    let first = rows.first().and_then(|row| mark(row.epoch?, row.nonce?));
    let complete = i64::try_from(rows.len()).is_ok_and(|rows| rows <= MOST_CHANGES + 1);
    if after.is_none() || first != after || !complete {
        return News::Anything;
    }
    let digest = |row: &Row| row.digest.as_deref()?.try_into().ok().map(KeyDigest::from_bytes);
    let digests: Option<Vec<KeyDigest>> = rows.iter().skip(1).map(digest).collect();
    digests.map_or(News::Anything, News::Changed)
}

fn mark(epoch: i64, nonce: Uuid) -> Option<Mark> {
    Some(Mark { epoch: epoch.try_into().ok()?, nonce: nonce.into_bytes() })
}

/// Windows in milliseconds, which the schema keeps positive.
fn windows_of(node: i32, barrier: i32) -> Windows {
    let time = |window: i32| Duration::from_millis(window.max(0).unsigned_abs().into());
    Windows { node: time(node), barrier: time(barrier) }
}

/// The windows as they are.
pub async fn windows(connections: &Connections) -> Result<Windows, StoreError> {
    let windows = connections
        .run(Repeat::Always, |connection| {
            let query =
                sqlx::query!("SELECT node_window_ms, barrier_window_ms FROM keyward.change_clock");
            Box::pin(query.fetch_one(connection))
        })
        .await?;
    Ok(windows_of(windows.node_window_ms, windows.barrier_window_ms))
}

/// Makes the window what it is to be, and the barrier no shorter than either.
pub async fn begin_window(
    connections: &Connections,
    window: Duration,
) -> Result<WindowChange, StoreError> {
    let wanted = i32::try_from(window.as_millis()).unwrap_or(i32::MAX);
    let begun = connections
        .run(Repeat::Always, |connection| {
            Box::pin(async move {
                let mut transaction = durable(connection).await?;
                let begun = sqlx::query!(
                    "UPDATE keyward.change_clock
                    SET node_window_ms = $1, barrier_window_ms = greatest(barrier_window_ms, $1),
                        windows_nonce = gen_random_uuid()
                    RETURNING node_window_ms, barrier_window_ms, windows_nonce",
                    wanted,
                );
                let begun = begun.fetch_one(&mut *transaction).await?;
                transaction.commit().await?;
                Ok(begun)
            })
        })
        .await?;
    let windows = windows_of(begun.node_window_ms, begun.barrier_window_ms);
    Ok(WindowChange { windows, nonce: begun.windows_nonce.into_bytes() })
}

/// Makes the barrier as short as the window, unless somebody else has changed that since.
pub async fn finish_window(
    connections: &Connections,
    change: WindowChange,
) -> Result<bool, StoreError> {
    let nonce = Uuid::from_bytes(change.nonce);
    connections
        .run(Repeat::Always, |connection| {
            Box::pin(async move {
                let mut transaction = durable(connection).await?;
                let finished = sqlx::query!(
                    "UPDATE keyward.change_clock SET barrier_window_ms = node_window_ms
                    WHERE windows_nonce = $1",
                    nonce,
                );
                let finished = finished.execute(&mut *transaction).await?;
                transaction.commit().await?;
                Ok(finished.rows_affected() == 1)
            })
        })
        .await
}

/// Forgets changes that are older than any node should need, but never the newest.
pub async fn prune(connections: &Connections) -> Result<(), StoreError> {
    connections
        .run(Repeat::Always, |connection| {
            let query = sqlx::query!(
                "DELETE FROM keyward.key_changes
                WHERE epoch < coalesce(
                    (SELECT epoch FROM keyward.key_changes
                     WHERE changed_at >= now() - $1::text::interval
                     ORDER BY epoch LIMIT 1),
                    (SELECT epoch FROM keyward.change_clock)
                )",
                HISTORY,
            );
            Box::pin(query.execute(connection))
        })
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Mark = Mark { epoch: 5, nonce: [5; 16] };

    fn row(epoch: i64) -> Row {
        let nonce = Uuid::from_bytes([u8::try_from(epoch % 256).unwrap(); 16]);
        let digest = vec![u8::try_from(epoch % 256).unwrap(); 32];
        Row {
            newest: 0,
            newest_nonce: None,
            node_window_ms: 0,
            barrier_window_ms: 0,
            time: DateTime::UNIX_EPOCH,
            standby: false,
            epoch: Some(epoch),
            nonce: Some(nonce),
            digest: Some(digest),
        }
    }

    fn rows(epochs: std::ops::Range<i64>) -> Vec<Row> {
        epochs.map(row).collect()
    }

    #[test]
    fn a_history_that_goes_on_names_what_changed_behind_the_mark() {
        assert_eq!(news(Some(WANTED), &rows(5..6)), News::Changed(vec![]));
        let changed = [6, 7].map(|n| KeyDigest::from_bytes([n; 32]));
        assert_eq!(news(Some(WANTED), &rows(5..8)), News::Changed(changed.to_vec()));
    }

    #[test]
    fn a_history_without_the_mark_names_nothing() {
        let nothing = Row { epoch: None, nonce: None, digest: None, ..row(0) };
        assert_eq!(news(None, &rows(5..6)), News::Anything);
        assert_eq!(news(Some(WANTED), &rows(6..8)), News::Anything);
        assert_eq!(news(Some(WANTED), &[nothing]), News::Anything);
        let other = Row { nonce: Some(Uuid::nil()), ..row(5) };
        assert_eq!(news(Some(WANTED), &[other, row(6)]), News::Anything);
    }

    #[test]
    fn too_much_is_anything() {
        let told = 5..5 + 1 + MOST_CHANGES;
        assert!(matches!(news(Some(WANTED), &rows(told.clone())), News::Changed(_)));
        assert_eq!(news(Some(WANTED), &rows(told.start..told.end + 1)), News::Anything);
    }

    #[test]
    fn a_digest_that_is_none_is_anything() {
        let odd = Row { digest: Some(vec![1]), ..row(6) };
        assert_eq!(news(Some(WANTED), &[row(5), odd]), News::Anything);
    }
}
