//! Verifications that are answered from memory.

use std::rc::Rc;

use anyhow::bail;

use super::{Sides, verifying};
use crate::floor::Template;
use crate::http::Connection;
use crate::over_http::{OverHttp, judge};
use crate::places::Places;
use crate::questions::Question;
use crate::server::Server;
use crate::side::Side;

/// A server that answers from memory, beside a bare route that answers the same bytes.
pub async fn beside_bare(
    question: &'static Question,
    places: &mut Places,
    clients: usize,
) -> anyhow::Result<Sides> {
    let place = places.rocksdb().await?;
    let keyward = verifying(place, &place.server, question, clients, None);
    // Every key is in memory afterwards, and the number in a request's id about as long as it gets.
    keyward.warm_up().await?;
    let floor = bare(&keyward).await?;
    Ok(Sides::beside_floor(vec![Box::new(floor), Box::new(keyward)]))
}

/// A server that keeps when keys are used, beside one that does not, each on keys of its own.
pub async fn noting(
    question: &'static Question,
    places: &mut Places,
    clients: usize,
) -> anyhow::Result<Sides> {
    let mut sides: Vec<Box<dyn Side>> = Vec::new();
    let place = places.without_uses().await?;
    let without = verifying(place, &place.server, question, clients, None);
    let place = places.rocksdb().await?;
    let with = verifying(place, &place.server, question, clients, None);
    for (name, side) in [("last use off", without), ("last use on", with)] {
        side.warm_up().await?;
        sides.push(Box::new(OverHttp { name, ..side }));
    }
    Ok(Sides::beside_floor(sides))
}

/// A bare route that is asked what `keyward` is asked, warm.
pub async fn bare(keyward: &OverHttp) -> anyhow::Result<OverHttp> {
    let server = start_floor(keyward.question, &keyward.servers[0], &keyward.requests[0]).await?;
    let floor = OverHttp {
        name: "bare warp",
        servers: vec![Rc::new(server)],
        postmaster: None,
        turn: Rc::default(),
        ..keyward.clone()
    };
    floor.warm_up().await?;
    Ok(floor)
}

/// A floor that answers what the real server answers to `request`, to the byte.
async fn start_floor(
    question: &Question,
    keyward: &Server,
    request: &[u8],
) -> anyhow::Result<Server> {
    let mut connection = Connection::open(keyward.address()).await?;
    let answer = connection.ask(request).await?;
    judge(question, &answer)?;
    let template = Template::new(&answer, question)?;
    let floor = Server::start_floor(&template).await?;
    let mut connection = Connection::open(floor.address()).await?;
    let same = connection.ask(request).await?;
    template.check(&same, question)?;
    if same.wire_len != answer.wire_len {
        bail!("{} bytes from the floor, {} from keyward", same.wire_len, answer.wire_len);
    }
    Ok(floor)
}
