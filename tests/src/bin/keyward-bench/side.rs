//! The sides of a row, measured in turns.

use std::time::Duration;

use async_trait::async_trait;

use crate::report::Sample;

/// One way to do what a row is about.
#[async_trait(?Send)]
pub trait Side {
    /// What it is called in the table.
    fn name(&self) -> &'static str;

    /// Does it for a while, of which `time` is measured.
    async fn slice(&mut self, time: Duration) -> anyhow::Result<Sample>;

    /// Ends what was started for it alone.
    async fn end(self: Box<Self>) -> anyhow::Result<()>;
}

/// Measures `slices` slices of each side, and ends the sides.
pub async fn in_turns(
    mut sides: Vec<Box<dyn Side>>,
    slices: usize,
    time: Duration,
) -> anyhow::Result<Vec<(&'static str, Vec<Sample>)>> {
    let mut measured: Vec<_> = sides.iter().map(|side| (side.name(), Vec::new())).collect();
    let count = sides.len();
    for round in 0..slices {
        // Another side begins each time, so that a machine that grows slower or faster favours
        // none.
        for turn in 0..count {
            let at = (round + turn) % count;
            measured[at].1.push(sides[at].slice(time).await?);
        }
    }
    for side in sides {
        side.end().await?;
    }
    Ok(measured)
}
