//! What becomes of a verification from memory where there are more keys, more connections, or a rate.

use std::time::Duration;

use super::memory::bare;
use super::{Sides, verifying};
use crate::open_loop::OpenLoop;
use crate::over_http::OverHttp;
use crate::places::{FEW, Places};
use crate::questions::FORWARD_AUTH;
use crate::rows::{CONNECTIONS, FEW_KEYS, KEYS, MOST_KEYS};
use crate::side::Side;
use crate::statistics::Spread;

/// Slices that the peak is the middle of.
const PEAKS: usize = 3;

/// Verifications where there are ever more keys, beside those where there are few.
pub async fn over_keys(places: &mut Places, clients: usize) -> anyhow::Result<Sides> {
    let place = places.few().await?;
    let few = verifying(place, &place.server, &FORWARD_AUTH, clients, None);
    let place = places.rocksdb().await?;
    let keys = verifying(place, &place.server, &FORWARD_AUTH, clients, None);
    let many = places.multitude().await?;
    let count = many.population.count;
    let remembering = many.remembering(clients).await?;
    let most = remembering.load.clone();
    let remark = format!(
        "{FEW} keys, as many as --keys, and {count}, of which {} are remembered; each side asks for \
         all that it remembers in turn",
        remembering.keys
    );
    let mut sides: Vec<Box<dyn Side>> = Vec::new();
    for (name, side) in [(FEW_KEYS, few), (KEYS, keys), (MOST_KEYS, most)] {
        side.warm_up().await?;
        sides.push(Box::new(OverHttp { name, ..side }));
    }
    Ok(Sides { same_answers: false, ..Sides::beside_floor(sides).remark(remark) })
}

/// Verifications over ever more connections, beside those over one.
pub async fn over_connections(places: &mut Places) -> anyhow::Result<Sides> {
    let place = places.rocksdb().await?;
    let load = verifying(place, &place.server, &FORWARD_AUTH, 64, None);
    load.warm_up().await?;
    let side = |(name, connections)| {
        Box::new(OverHttp { name, connections, ..load.clone() }) as Box<dyn Side>
    };
    Ok(Sides::beside_floor(CONNECTIONS.map(side).into()))
}

/// Verifications that are asked for at a share of the rate that the server reaches when it is asked as
/// fast as it answers, beside a bare route at the same rate.
pub async fn at_rate(share: f64, places: &mut Places, clients: usize) -> anyhow::Result<Sides> {
    let place = places.rocksdb().await?;
    let mut keyward = verifying(place, &place.server, &FORWARD_AUTH, clients, None);
    keyward.warm_up().await?;
    let floor = bare(&keyward).await?;
    let peak = match places.peak {
        Some(peak) => peak,
        None => peak(&mut keyward).await?,
    };
    places.peak = Some(peak);
    let per_second = share * peak;
    let paced = |load| Box::new(OpenLoop { load, per_second }) as Box<dyn Side>;
    let remark = format!(
        "{per_second:.0} a second, of a peak of {peak:.0}; times since requests were due, so that \
         waiting for a turn counts"
    );
    Ok(Sides::beside_floor(vec![paced(floor), paced(keyward)]).remark(remark))
}

async fn peak(keyward: &mut OverHttp) -> anyhow::Result<f64> {
    let mut reached = Vec::new();
    for _ in 0..PEAKS {
        reached.push(keyward.slice(Duration::from_secs(1)).await?.per_second);
    }
    Ok(Spread::of(reached).median)
}
