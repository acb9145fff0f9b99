//! One row: its sides, made, measured and judged.

use std::time::Duration;

use anyhow::Context as _;

use crate::places::Places;
use crate::report::{RowResult, Settings, check_answers};
use crate::rows::{Row, What};
use crate::side::in_turns;
use crate::sides::{Sides, cluster, growth, many, memory, refused, writes};

/// Measures `row`.
pub async fn measure(
    row: &'static Row,
    places: &mut Places,
    settings: &Settings,
) -> anyhow::Result<RowResult> {
    let clients = row.clients.unwrap_or(settings.connections);
    let sides = match row.what {
        What::VerifyFromMemory(question) => memory::beside_bare(question, places, clients).await,
        What::VerifyAndNote(question) => memory::noting(question, places, clients).await,
        What::Refuse => refused::refused(places, clients).await,
        What::AtRate(share) => growth::at_rate(share, places, clients).await,
        What::GrowKeys => growth::over_keys(places, clients).await,
        What::GrowConnections => growth::over_connections(places).await,
        What::Start => places.multitude().await.map(|many| many::starting(many)),
        What::VerifyCold => many::cold(places.multitude().await?, clients).await,
        What::List => many::listing(places.multitude().await?).await,
        What::MemoryPerKey(goal) => {
            let many = places.multitude().await?;
            return many::memory_per_key(row.name, goal, many, clients).await;
        }
        What::DiskPerKey(goal) => {
            return many::disk_per_key(row.name, goal, places.multitude().await?);
        }
        What::RevokeInRocksDb => writes::revoking(row, places, clients).await,
        What::CreateInRocksDb => writes::in_rocksdb(row, places, clients).await,
        What::CreateInPostgres
        | What::VerifyFromPostgres
        | What::VerifyInCluster
        | What::RevokeInCluster => match places.postgres().await? {
            Ok((place, postgres)) => match row.what {
                What::VerifyInCluster => cluster::verifying(place, postgres, clients).await,
                What::RevokeInCluster => cluster::revoking(place, postgres, clients).await,
                what => writes::in_postgres(what, place, postgres, clients).await,
            },
            Err(reason) => return Ok(RowResult::absent(row.name, clients, reason)),
        },
    };
    let sides = sides.with_context(|| format!("preparing {}", row.name))?;
    let Sides { ready, has_floor, same_answers, remarks } = sides;
    let time = Duration::from_secs(settings.seconds_per_slice);
    let measured = in_turns(ready, settings.slices, time)
        .await
        .with_context(|| format!("measuring {}", row.name))?;
    if same_answers {
        check_answers(&measured)?;
    }
    RowResult::new((row.name, clients), measured, has_floor, remarks, row.aims)
}
