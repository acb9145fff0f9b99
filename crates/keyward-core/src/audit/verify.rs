//! The verification of a chain.

use crate::audit::{AuditKey, AuditLog, EventPosition, Link};
use crate::clock::Timestamp;
use crate::id::{EventId, WorkspaceId};
use crate::store::StoreError;

/// Events that are read at a time.
const PAGE: usize = 1_000;
/// Faults that are told one by one; beyond them they are counted.
const MOST_FAULTS: usize = 100;

/// Something that should not be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Links are not there, or not in their place.
    #[error("link {first} to {last} of the chain are missing")]
    Missing {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// An event is not what was signed.
    #[error("the event {0} is not what was signed: it was changed, or made by somebody else")]
    Changed(EventId),
    /// A link does not follow from the one before it.
    #[error("link {0} does not follow from the one before it: events were moved or exchanged")]
    Unlinked(u64),
    /// The chain ends before its newest link.
    #[error("the chain ends at link {end}, and its newest link is {head}")]
    Cut {
        /// Where it ends.
        end: u64,
        /// Where it should.
        head: u64,
    },
    /// The newest link is not the one that the chain ends with.
    #[error("the newest link is not the one that the chain ends with")]
    OtherHead,
    /// A link that was kept elsewhere is not in the chain.
    #[error("link {0}, which was kept, is not in the chain: it was cut there, or made anew")]
    NotKept(u64),
    /// An event was recorded without a signature.
    #[error(
        "the event {0} of {1} has no signature: a node without the audit key recorded it, or somebody \
         put it there"
    )]
    Unsigned(EventId, Timestamp),
}

/// What the verification of a workspace found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// Events in the chain.
    pub sealed: u64,
    /// Events with a good signature that are not in the chain yet: those of the last moment, unless
    /// nobody seals.
    pub unsealed: u64,
    /// The first faults, in the order in which they were found.
    pub faults: Vec<Fault>,
    /// How many faults there are in all.
    pub fault_count: u64,
    /// The newest link, as it was computed.
    pub head: Option<Link>,
}

impl Findings {
    fn add(&mut self, fault: Fault) {
        self.fault_count += 1;
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(fault);
        }
    }
}

/// Verifies the audit trail of a workspace with the key that it was made with, and that the link `kept`
/// is in it, where one was kept elsewhere. Memory does not grow with the trail.
///
/// # Errors
///
/// When the store fails, or holds an event that cannot be read.
pub async fn verify(
    log: &dyn AuditLog,
    key: &AuditKey,
    workspace: WorkspaceId,
    kept: Option<Link>,
) -> Result<Findings, StoreError> {
    let mut found = Findings::default();
    let mut head = log.heads(&[workspace]).await?.into_iter().next().flatten();
    walk(log, key, workspace, kept, &mut found).await?;
    if head.is_none() && found.head.is_some() {
        // The first link may have been made meanwhile.
        head = log.heads(&[workspace]).await?.into_iter().next().flatten();
    }
    match (head, found.head) {
        (Some(head), end) if end.is_none_or(|end| end.number < head.number) => {
            found.add(Fault::Cut { end: end.map_or(0, |end| end.number), head: head.number });
        }
        // Links that were added since are behind the head that was read before.
        (Some(head), Some(end)) if end.number == head.number && end != head => {
            found.add(Fault::OtherHead);
        }
        (None, Some(_)) => found.add(Fault::OtherHead),
        _ => {}
    }
    if let Some(kept) = kept
        && found.head.is_none_or(|end| end.number < kept.number)
    {
        found.add(Fault::NotKept(kept.number));
    }
    look_outside(log, key, workspace, &mut found).await?;
    Ok(found)
}

/// Walks the chain from its first link.
async fn walk(
    log: &dyn AuditLog,
    key: &AuditKey,
    workspace: WorkspaceId,
    kept: Option<Link>,
    found: &mut Findings,
) -> Result<(), StoreError> {
    let mut number = 0;
    loop {
        let page = log.chain(workspace, number, PAGE).await?;
        for recorded in &page {
            let (Some(link), event) = (recorded.link, &recorded.event) else { continue };
            if link.number <= number {
                // The store says that it goes on, and it does not.
                found.add(Fault::Unlinked(link.number));
                return Ok(());
            }
            if link.number > number + 1 {
                found.add(Fault::Missing { first: number + 1, last: link.number - 1 });
            }
            let tag = key.tag(event);
            if event.tag != Some(tag) || event.workspace != workspace {
                found.add(Fault::Changed(event.id));
            }
            // With the signature as it stands, so that an event that was changed is told as that alone.
            let expected = event.tag.map(|tag| key.link(workspace, found.head, tag));
            if expected != Some(link) && link.number == number + 1 {
                found.add(Fault::Unlinked(link.number));
            }
            if kept.is_some_and(|kept| kept.number == link.number && kept != link) {
                found.add(Fault::NotKept(link.number));
            }
            number = link.number;
            found.head = Some(link);
            found.sealed += 1;
        }
        if page.len() < PAGE {
            return Ok(());
        }
    }
}

/// Looks at the events that are in no chain.
async fn look_outside(
    log: &dyn AuditLog,
    key: &AuditKey,
    workspace: WorkspaceId,
    found: &mut Findings,
) -> Result<(), StoreError> {
    let mut after: Option<EventPosition> = None;
    loop {
        let page = log.events(workspace, after, PAGE).await?;
        for recorded in page.iter().filter(|it| it.link.is_none()) {
            let event = &recorded.event;
            match event.tag {
                None => found.add(Fault::Unsigned(event.id, event.at)),
                Some(tag) if tag == key.tag(event) => found.unsealed += 1,
                Some(_) => found.add(Fault::Changed(event.id)),
            }
        }
        match page.last().filter(|_| page.len() == PAGE) {
            Some(last) => after = Some((&last.event).into()),
            None => return Ok(()),
        }
    }
}
