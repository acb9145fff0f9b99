//! The audit trail in the database.

use keyward_core::audit::{Event, EventPosition, Link, NewLink, Recorded};
use keyward_core::id::WorkspaceId;
use rocksdb::WriteBatch;

use super::Database;
use crate::codec::Malformed;
use crate::codec::events::{decode_event, decode_link, encode_event, encode_link};
use crate::error::ReadError;
use crate::layout::{
    self, CHAIN, EVENT, HEAD, POSITION_LEN, UNSEALED, event_position, unsealed_position,
};
use crate::setup::{Reach, read_options};

fn event_key(workspace: WorkspaceId, position: &[u8]) -> Vec<u8> {
    [EVENT, workspace.as_bytes(), position].concat()
}

fn chain_key(workspace: WorkspaceId, number: u64) -> Vec<u8> {
    [CHAIN, workspace.as_bytes(), &number.to_be_bytes()].concat()
}

fn head_key(workspace: WorkspaceId) -> Vec<u8> {
    [HEAD, workspace.as_bytes()].concat()
}

fn unsealed_key(position: EventPosition) -> Vec<u8> {
    [UNSEALED, &unsealed_position(position)].concat()
}

impl Database {
    /// One page of the events of a workspace, newest first.
    pub fn events(
        &self,
        workspace: WorkspaceId,
        after: Option<EventPosition>,
        limit: usize,
        reach: Reach,
    ) -> Result<Vec<Recorded>, ReadError> {
        let stretch = event_key(workspace, &[]);
        let after = after.map(event_position);
        self.entries(&stretch, after.as_ref().map(|it| &it[..]), limit, reach, |_, value| {
            Ok(Some(decode_event(value)?))
        })
    }

    /// One page of the chain of a workspace.
    pub fn chain(
        &self,
        workspace: WorkspaceId,
        after: u64,
        limit: usize,
        reach: Reach,
    ) -> Result<Vec<Recorded>, ReadError> {
        let stretch = [CHAIN, workspace.as_bytes()].concat();
        self.entries(&stretch, Some(&after.to_be_bytes()), limit, reach, |_, position| {
            // What somebody has removed is missing from the chain, and not from the page.
            let event = self.default_value(&event_key(workspace, position), reach)?;
            Ok(event.map(|value| decode_event(&value)).transpose()?)
        })
    }

    /// One page of the events that are signed and not sealed, oldest first.
    pub fn unsealed(
        &self,
        after: Option<EventPosition>,
        limit: usize,
        reach: Reach,
    ) -> Result<Vec<Event>, ReadError> {
        let after = after.map(unsealed_position);
        self.entries(UNSEALED, after.as_ref().map(|it| &it[..]), limit, reach, |key, value| {
            let workspace =
                <[u8; 16]>::try_from(value).map_err(|_| Malformed::Field("workspace"))?;
            let key: [u8; POSITION_LEN] = key.try_into().map_err(|_| Malformed::Field("place"))?;
            let position = layout::read_unsealed_position(key).ok_or(Malformed::Field("time"))?;
            let workspace = WorkspaceId::from_bytes(workspace);
            let place = event_key(workspace, &event_position(position));
            let event = self.default_value(&place, reach)?;
            Ok(event.map(|value| decode_event(&value)).transpose()?.map(|it| it.event))
        })
    }

    /// The newest link of a workspace.
    pub fn head(&self, workspace: WorkspaceId, reach: Reach) -> Result<Option<Link>, ReadError> {
        let value = self.default_value(&head_key(workspace), reach)?;
        Ok(value.map(|value| decode_link(&value)).transpose()?)
    }

    /// One page of the workspaces that have events: a seek for each.
    pub fn event_workspaces(
        &self,
        after: Option<WorkspaceId>,
        limit: usize,
        reach: Reach,
    ) -> Result<Vec<WorkspaceId>, ReadError> {
        let mut found: Vec<WorkspaceId> = Vec::new();
        while found.len() < limit {
            let last = found.last().copied().or(after);
            // Behind every event of the last workspace.
            let end = last.map(|it| [it.as_bytes(), &[0xff; POSITION_LEN][..]].concat());
            let next = self.entries(EVENT, end.as_deref(), 1, reach, |key, _| {
                let workspace = key.first_chunk().ok_or(Malformed::Field("workspace"))?;
                Ok(Some(WorkspaceId::from_bytes(*workspace)))
            })?;
            match next.first() {
                Some(workspace) => found.push(*workspace),
                None => break,
            }
        }
        Ok(found)
    }

    /// Adds an event to `batch`, with its link where it has one. Where it is signed and has none, it
    /// waits for one.
    pub fn stage_event(batch: &mut WriteBatch, event: &Event, link: Option<&Link>) {
        let position = event_position(event.into());
        batch.put(event_key(event.workspace, &position), encode_event(event, link));
        match link {
            Some(link) => batch.put(chain_key(event.workspace, link.number), position),
            None if event.tag.is_some() => {
                batch.put(unsealed_key(event.into()), event.workspace.as_bytes());
            }
            None => {}
        }
    }

    /// Adds an event of another store to `batch`, unless it is there.
    pub fn stage_foreign_event(
        &self,
        batch: &mut WriteBatch,
        recorded: &Recorded,
    ) -> Result<(), ReadError> {
        let event = &recorded.event;
        let key = event_key(event.workspace, &event_position(event.into()));
        let known = self.default_value(&key, Reach::Disk)?;
        let known = known.map(|value| decode_event(&value)).transpose()?;
        let Some(link) = recorded.link else {
            if known.is_none() {
                Self::stage_event(batch, event, None);
            }
            return Ok(());
        };
        // It may have come before it was sealed there.
        if known.is_some_and(|it| it.link.is_some() || it.event != *event) {
            return Ok(());
        }
        batch.delete(unsealed_key(event.into()));
        Self::stage_event(batch, event, Some(&link));
        Ok(())
    }

    /// Adds to `batch` where a chain ends.
    pub fn stage_head(batch: &mut WriteBatch, workspace: WorkspaceId, link: Link) {
        batch.put(head_key(workspace), encode_link(&link));
    }

    /// Adds a link of the chain to `batch`, and its event with it. `false` where the event is not one
    /// that waits for that.
    pub fn stage_new_link(&self, batch: &mut WriteBatch, new: &NewLink) -> Result<bool, ReadError> {
        let workspace = new.event.workspace;
        let waiting = unsealed_key((&new.event).into());
        // As long as it waits, it is what it was when it was read: events do not change.
        if self.default_value(&waiting, Reach::Disk)?.as_deref() != Some(workspace.as_bytes()) {
            return Ok(false);
        }
        batch.delete(waiting);
        Self::stage_event(batch, &new.event, Some(&new.link));
        Ok(true)
    }

    /// The entries of the default column family whose keys begin with `prefix`, behind
    /// `prefix ‖ after`: what `read` makes of the rest of the key and of the value.
    pub(super) fn entries<T>(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        reach: Reach,
        mut read: impl FnMut(&[u8], &[u8]) -> Result<Option<T>, ReadError>,
    ) -> Result<Vec<T>, ReadError> {
        let mut options = read_options(reach);
        let (lower, upper) = layout::kind(prefix, after);
        options.set_iterate_lower_bound(lower);
        options.set_iterate_upper_bound(upper);
        let mut scan = self.db.raw_iterator_opt(options);
        scan.seek_to_first();
        let mut found = Vec::new();
        while found.len() < limit {
            let Some((key, value)) = scan.item() else {
                // The end of the stretch, unless the status says otherwise.
                scan.status()?;
                break;
            };
            let rest = key.get(prefix.len()..).ok_or(Malformed::Field("key"))?;
            found.extend(read(rest, value)?);
            scan.next();
        }
        Ok(found)
    }
}
