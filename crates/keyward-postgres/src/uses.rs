//! When keys were last used.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use keyward_core::clock::Timestamp;
use keyward_core::store::{KeyPlace, StoreError, Use};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::connections::{Connections, Repeat};
use crate::row::{column_time, last_used_at};

/// Uses, column by column.
struct Columns {
    workspaces: Vec<Uuid>,
    ids: Vec<Uuid>,
    times: Vec<DateTime<Utc>>,
}

impl Columns {
    /// The uses in one order, in which all nodes lock their rows: none waits for another that waits
    /// for it.
    fn of(uses: &[Use]) -> Self {
        let row = |it: &Use| {
            (it.key.workspace.as_uuid(), it.key.position.id.as_uuid(), column_time(it.at))
        };
        let mut rows: Vec<_> = uses.iter().map(row).collect();
        rows.sort_unstable();
        let mut columns = Self { workspaces: Vec::new(), ids: Vec::new(), times: Vec::new() };
        for (workspace, id, time) in rows {
            columns.workspaces.push(workspace);
            columns.ids.push(id);
            columns.times.push(time);
        }
        columns
    }
}

/// Notes these uses, unless later ones are known.
pub async fn record(connections: &Connections, uses: &[Use]) -> Result<(), StoreError> {
    let columns = Arc::new(Columns::of(uses));
    connections
        // The later time wins, however often it is written.
        .run(Repeat::Always, |connection| {
            let columns = Arc::clone(&columns);
            Box::pin(async move { record_on(connection, &columns).await })
        })
        .await
}

async fn record_on(connection: &mut PgConnection, columns: &Columns) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    // Nobody is let in or kept out by a use, and the next one makes good what a crash of Postgres takes
    // away: no reason to wait for its disk, or for a standby's.
    sqlx::query!("SELECT set_config('synchronous_commit', 'off', true)")
        .fetch_one(&mut *transaction)
        .await?;
    sqlx::query!(
        "INSERT INTO keyward.key_uses AS known (workspace_id, key_id, last_used_at)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[])
        ON CONFLICT ON CONSTRAINT key_uses_key DO UPDATE
        SET last_used_at = excluded.last_used_at
        WHERE known.last_used_at < excluded.last_used_at",
        &columns.workspaces,
        &columns.ids,
        &columns.times,
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

/// When these keys were last used, in their order.
pub async fn last(
    connections: &Connections,
    keys: &[KeyPlace],
) -> Result<Vec<Option<Timestamp>>, StoreError> {
    let workspaces: Vec<Uuid> = keys.iter().map(|it| it.workspace.as_uuid()).collect();
    let ids: Vec<Uuid> = keys.iter().map(|it| it.position.id.as_uuid()).collect();
    // Probes, one for each key, for the reasons that `reading::find` has.
    let rows = connections
        .run(Repeat::Always, |connection| {
            let query = sqlx::query!(
                r#"SELECT asked.position AS "position!", known.last_used_at
                FROM unnest((SELECT $1::uuid[]), (SELECT $2::uuid[]))
                    WITH ORDINALITY AS asked (workspace_id, key_id, position)
                CROSS JOIN LATERAL (
                    SELECT last_used_at
                    FROM keyward.key_uses
                    WHERE workspace_id = asked.workspace_id AND key_id = asked.key_id
                    OFFSET 0
                ) AS known"#,
                &workspaces,
                &ids,
            );
            Box::pin(query.fetch_all(connection))
        })
        .await?;
    let mut last = vec![None; keys.len()];
    for row in rows {
        // Positions are counted from one.
        let place = usize::try_from(row.position - 1).ok().and_then(|n| last.get_mut(n));
        if let Some(place) = place {
            *place = Some(last_used_at(row.last_used_at)?);
        }
    }
    Ok(last)
}
