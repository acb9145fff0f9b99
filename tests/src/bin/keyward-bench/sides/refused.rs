//! Keys that are refused, beside one that is accepted.

use std::rc::Rc;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::{Sides, verifying};
use crate::http::Connection;
use crate::over_http::OverHttp;
use crate::places::{Place, Places};
use crate::questions::{CREATE, FORWARD_AUTH, REFUSED, WORKSPACE, revocation};
use crate::rows::{MALFORMED, REVOKED, UNKNOWN};
use crate::side::Side;
use crate::storage::Mint;

/// Keys of each kind, which are asked for in turn.
const KEYS: usize = 1_000;

/// The sides, each with as many keys.
pub async fn refused(places: &mut Places, clients: usize) -> anyhow::Result<Sides> {
    let place = places.rocksdb().await?;
    let all = verifying(place, &place.server, &FORWARD_AUTH, clients, None);
    let some = &place.keys[..KEYS.min(place.keys.len())];
    let mint = Mint::new()?;
    let unknown = (0..KEYS).map(|_| Ok(mint.key()?.1.reveal().to_string()));
    let unknown: Vec<String> = unknown.collect::<anyhow::Result<_>>()?;
    let kinds = [
        ("accepted", &FORWARD_AUTH, some.to_vec()),
        (MALFORMED, &REFUSED, some.iter().map(|key| malformed(key)).collect()),
        (UNKNOWN, &REFUSED, unknown),
        (REVOKED, &REFUSED, revoked(place).await?),
    ];
    let mut sides: Vec<Box<dyn Side>> = Vec::new();
    for (name, question, keys) in kinds {
        let requests = keys.iter().map(|key| (question.request)(key)).collect();
        let side = OverHttp { name, question, requests, turn: Rc::default(), ..all.clone() };
        side.warm_up().await?;
        sides.push(Box::new(side));
    }
    let sides = Sides { same_answers: false, ..Sides::beside_floor(sides) };
    Ok(sides.remark("an unknown key is looked for in RocksDB each time: it is never remembered"))
}

/// The key with another last character, which the checksum does not allow.
fn malformed(key: &str) -> String {
    let (rest, last) = key.split_at(key.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}

/// New keys that have been revoked.
async fn revoked(place: &Place) -> anyhow::Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Created {
        id: String,
        key: String,
    }
    let mut connection = Connection::open(place.server.address()).await?;
    let create = (CREATE.request)(&place.token);
    let mut keys = Vec::with_capacity(KEYS);
    for _ in 0..KEYS {
        let answer = connection.ask(&create).await?;
        let Created { id, key } = serde_json::from_slice(answer.body).context("creating a key")?;
        let id = id.parse().ok().context("an id is not one")?;
        let answer = connection.ask(&revocation(WORKSPACE, id, &place.token)).await?;
        ensure!(answer.status == 200, "a key could not be revoked: {}", answer.status);
        keys.push(key);
    }
    Ok(keys)
}
