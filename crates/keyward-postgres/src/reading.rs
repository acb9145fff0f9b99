//! Statements that read. Each is one snapshot of the database.

use keyward_core::id::{AccountId, KeyId, WorkspaceId};
use keyward_core::key::{KeyName, Status};
use keyward_core::secret::KeyDigest;
use keyward_core::store::{Filter, ListPosition, StoreError, StoredKey};
use uuid::Uuid;

use crate::connections::{Connections, Repeat};
use crate::lane::all_failed;
use crate::row::{Row, column_time};

/// The records with these digests, in the same order.
pub async fn find(
    connections: &Connections,
    digests: Vec<KeyDigest>,
) -> Vec<Result<Option<StoredKey>, StoreError>> {
    let asked: Vec<Vec<u8>> = digests.iter().map(|digest| digest.as_bytes().to_vec()).collect();
    // OFFSET 0 keeps the planner from turning the probes, one for each digest, into a join: for that
    // it could read the whole table. The SELECT around the parameter keeps their number from it: it
    // would make a plan of its own for each short statement, at two thirds of the cost of the probes.
    let found = connections
        .run(Repeat::Always, |connection| {
            let query = sqlx::query!(
                r#"SELECT asked.position AS "position!", key.*
                FROM unnest((SELECT $1::bytea[])) WITH ORDINALITY AS asked (digest, position)
                CROSS JOIN LATERAL (
                    SELECT id, workspace_id, digest, name, key_prefix, status, created_by,
                           created_at, updated_at, scopes, description, metadata::text, expires_at,
                           rotated_from, rotated_to, revoked_at, revoked_by, revoked_reason
                    FROM keyward.api_keys
                    WHERE digest = asked.digest
                    OFFSET 0
                ) AS key"#,
                &asked,
            );
            Box::pin(query.fetch_all(connection))
        })
        .await;
    let rows = match found {
        Ok(rows) => rows,
        Err(error) => return all_failed(digests.len(), &error),
    };
    let mut outcomes: Vec<_> = digests.iter().map(|_| Ok(None)).collect();
    for row in rows {
        // Positions are counted from one.
        let place = usize::try_from(row.position - 1).ok().and_then(|n| outcomes.get_mut(n));
        let row = Row {
            id: row.id,
            workspace_id: row.workspace_id,
            digest: row.digest,
            name: row.name,
            key_prefix: row.key_prefix,
            status: row.status,
            created_by: row.created_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
            scopes: row.scopes,
            description: row.description,
            metadata: row.metadata,
            expires_at: row.expires_at,
            rotated_from: row.rotated_from,
            rotated_to: row.rotated_to,
            revoked_at: row.revoked_at,
            revoked_by: row.revoked_by,
            revoked_reason: row.revoked_reason,
        };
        if let Some(place) = place {
            *place = row.into_stored().map(Some);
        }
    }
    outcomes
}

/// The record `id` of `workspace`.
pub async fn get(
    connections: &Connections,
    workspace: WorkspaceId,
    id: KeyId,
) -> Result<Option<StoredKey>, StoreError> {
    let row = connections
        .run(Repeat::Always, |connection| {
            let query = sqlx::query_as!(
                Row,
                "SELECT id, workspace_id, digest, name, key_prefix, status, created_by,
                        created_at, updated_at, scopes, description, metadata::text, expires_at,
                        rotated_from, rotated_to, revoked_at, revoked_by, revoked_reason
                FROM keyward.api_keys
                WHERE id = $1 AND workspace_id = $2",
                id.as_uuid(),
                workspace.as_uuid(),
            );
            Box::pin(query.fetch_optional(connection))
        })
        .await?;
    row.map(Row::into_stored).transpose()
}

/// One page of a workspace.
///
/// The records behind a position are those of the same time with a greater id, and all older ones:
/// each of the two is a stretch of `api_keys_list_idx`, and no more of it is read than a page, beside
/// what the filter holds back. (One
/// condition with an OR would read all records of that time again for every page; so would one limit
/// for both, because Postgres then sorts them together.)
pub async fn page(
    connections: &Connections,
    workspace: WorkspaceId,
    filter: &Filter,
    after: Option<ListPosition>,
    limit: usize,
) -> Result<Vec<StoredKey>, StoreError> {
    let status = filter.status.map(Status::as_str);
    let created_by = filter.created_by.as_ref().map(AccountId::as_uuid);
    let name = filter.name.as_ref().map(KeyName::as_str);
    let (time, id) = after.map(|it| (column_time(it.created_at), it.id.as_uuid())).unzip();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = connections
        .run(Repeat::Always, |connection| {
            let query = sqlx::query_as!(
                Row,
                r#"SELECT id AS "id!", workspace_id AS "workspace_id!", digest AS "digest!",
                       name AS "name!", key_prefix AS "key_prefix!", status AS "status!",
                       created_by AS "created_by!", created_at AS "created_at!",
                       updated_at AS "updated_at!", scopes, description, metadata::text, expires_at,
                       rotated_from, rotated_to, revoked_at, revoked_by, revoked_reason
                FROM (
                    (SELECT * FROM keyward.api_keys
                    WHERE workspace_id = $1 AND created_at = $2 AND id > $3
                      AND ($5::text IS NULL OR status = $5)
                      AND ($6::uuid IS NULL OR created_by = $6)
                      AND ($7::text IS NULL OR name = $7)
                    ORDER BY id
                    LIMIT $4)
                    UNION ALL
                    (SELECT * FROM keyward.api_keys
                    WHERE workspace_id = $1 AND created_at < coalesce($2, 'infinity')
                      AND ($5::text IS NULL OR status = $5)
                      AND ($6::uuid IS NULL OR created_by = $6)
                      AND ($7::text IS NULL OR name = $7)
                    ORDER BY created_at DESC, id
                    LIMIT $4)
                ) AS behind
                ORDER BY created_at DESC, id
                LIMIT $4"#,
                workspace.as_uuid(),
                time,
                id,
                limit,
                status,
                created_by,
                name,
            );
            Box::pin(query.fetch_all(connection))
        })
        .await?;
    rows.into_iter().map(Row::into_stored).collect()
}

/// One page of all records.
pub async fn scan(
    connections: &Connections,
    after: Option<KeyId>,
    limit: usize,
) -> Result<Vec<StoredKey>, StoreError> {
    let first = match after {
        None => Some(0),
        Some(id) => id.as_uuid().as_u128().checked_add(1),
    };
    // Nothing is behind the greatest id.
    let Some(first) = first else { return Ok(Vec::new()) };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = connections
        .run(Repeat::Always, |connection| {
            let query = sqlx::query_as!(
                Row,
                "SELECT id, workspace_id, digest, name, key_prefix, status, created_by,
                        created_at, updated_at, scopes, description, metadata::text, expires_at,
                        rotated_from, rotated_to, revoked_at, revoked_by, revoked_reason
                FROM keyward.api_keys
                WHERE id >= $1
                ORDER BY id
                LIMIT $2",
                Uuid::from_u128(first),
                limit,
            );
            Box::pin(query.fetch_all(connection))
        })
        .await?;
    rows.into_iter().map(Row::into_stored).collect()
}

/// Answers when the database can be read and written now. A sealed one is ready.
pub async fn ready(connections: &Connections) -> Result<bool, StoreError> {
    connections
        .run(Repeat::Always, |connection| {
            let query = sqlx::query_scalar!(
                r#"SELECT current_setting('transaction_read_only') = 'off' AS "writable!"
                FROM keyward.settings"#
            );
            Box::pin(query.fetch_one(connection))
        })
        .await
}
