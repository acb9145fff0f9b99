//! The sides of each row, made ready.

pub mod cluster;
pub mod growth;
pub mod many;
pub mod memory;
pub mod refused;
pub mod writes;

use std::rc::Rc;

use anyhow::Context as _;

use crate::over_http::OverHttp;
use crate::places::Place;
use crate::questions::{CREATE, Question};
use crate::rows::SERVER;
use crate::server::Server;
use crate::side::Side;

/// The sides of a row, the floor first unless there is none.
pub struct Sides {
    pub ready: Vec<Box<dyn Side>>,
    pub has_floor: bool,
    /// Whether all sides must answer the same amount over HTTP.
    pub same_answers: bool,
    /// What must be known to read the figures.
    pub remarks: Vec<String>,
}

impl Sides {
    /// Sides of which the first is the floor.
    fn beside_floor(sides: Vec<Box<dyn Side>>) -> Self {
        Self { ready: sides, has_floor: true, same_answers: true, remarks: Vec::new() }
    }

    fn remark(mut self, remark: impl Into<String>) -> Self {
        self.remarks.push(remark.into());
        self
    }
}

/// Verifications of all keys of `place` by `server`.
fn verifying(
    place: &Place,
    server: &Rc<Server>,
    question: &'static Question,
    connections: usize,
    postmaster: Option<u32>,
) -> OverHttp {
    let requests = place.keys.iter().map(|key| (question.request)(key)).collect();
    let (servers, turn) = (vec![Rc::clone(server)], Rc::default());
    OverHttp { name: SERVER, servers, postmaster, question, requests, connections, turn }
}

/// Creations in `place`.
fn creating(place: &Place, connections: usize, postmaster: Option<u32>) -> OverHttp {
    let requests = Rc::new([(CREATE.request)(&place.token)]);
    let (servers, turn) = (vec![Rc::clone(&place.server)], Rc::default());
    OverHttp { name: SERVER, servers, postmaster, question: &CREATE, requests, connections, turn }
}

/// The server without memory.
fn forgetful(place: &Place) -> anyhow::Result<&Rc<Server>> {
    place.forgetful.as_ref().context("the place has no server without memory")
}
