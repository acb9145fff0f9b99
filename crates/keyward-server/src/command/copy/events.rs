//! The audit trail, taken along with the keys.

use anyhow::Context as _;
use keyward_core::audit::{AuditLog, EventPosition};
use keyward_core::id::WorkspaceId;

use super::progress::Progress;

/// Workspaces, and events, that are read at a time.
const PAGE: usize = 1_000;

/// Adds the events of the source to the target, and says how many there are. What is there already
/// stays as it is, so that a copy which was killed is simply begun again.
pub async fn carry_over(source: &dyn AuditLog, target: &dyn AuditLog) -> anyhow::Result<u64> {
    let progress = Progress::start("copying events", None);
    let mut events = 0;
    let mut last: Option<WorkspaceId> = None;
    loop {
        let page = source.workspaces(last, PAGE).await.context("the source")?;
        for workspace in &page {
            let linked = is_continued(source, target, *workspace).await?;
            let mut after: Option<EventPosition> = None;
            loop {
                let mut page =
                    source.events(*workspace, after, PAGE).await.context("the source")?;
                let (len, end) = (page.len(), page.last().map(|it| (&it.event).into()));
                if !linked {
                    for recorded in &mut page {
                        recorded.link = None;
                    }
                }
                target.import_events(&page).await.context("the target does not take the events")?;
                events += len as u64;
                progress.add(len as u64);
                match end.filter(|_| len == PAGE) {
                    Some(end) => after = Some(end),
                    None => break,
                }
            }
        }
        match page.last().filter(|_| page.len() == PAGE) {
            Some(workspace) => last = Some(*workspace),
            None => return Ok(events),
        }
    }
}

/// Whether the chain of the target is the beginning of that of the source, as it is where there is none.
/// Else the events come without their links, and are sealed anew behind those that are there.
async fn is_continued(
    source: &dyn AuditLog,
    target: &dyn AuditLog,
    workspace: WorkspaceId,
) -> anyhow::Result<bool> {
    let head = target.heads(&[workspace]).await.context("the target")?.into_iter().next().flatten();
    let Some(head) = head else { return Ok(true) };
    let before = head.number.saturating_sub(1);
    let there = source.chain(workspace, before, 1).await.context("the source")?;
    Ok(there.first().is_some_and(|recorded| recorded.link == Some(head)))
}
