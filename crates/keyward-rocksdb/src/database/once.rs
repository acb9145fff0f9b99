//! Requests that make something once, in the database.

use keyward_core::clock::Timestamp;
use keyward_core::key::ApiKey;
use keyward_core::store::{Added, Once};
use rocksdb::WriteBatch;

use super::Database;
use crate::codec::events::{decode_once, encode_once};
use crate::error::ReadError;
use crate::layout::{self, MADE, ONCE, Place};
use crate::setup::Reach;

/// Requests that are forgotten at once, where they are over: as many as a group may remember, so that
/// they do not gather.
const FORGOTTEN_AT_ONCE: usize = 1_024;

fn once_key(name: &[u8]) -> Vec<u8> {
    [ONCE, name].concat()
}

impl Database {
    /// What a request with this name has made before.
    pub fn made_before(&self, once: &Once) -> Result<Option<Added>, ReadError> {
        let Some(value) = self.default_value(&once_key(&once.name), Reach::Disk)? else {
            return Ok(None);
        };
        let (content, place) = decode_once(&value)?;
        if place.created_at().is_none_or(|at| at < once.since) {
            return Ok(None);
        }
        if content != once.content {
            return Ok(Some(Added::Other));
        }
        let stored = self.record(&place, self.options(Reach::Disk))?;
        Ok(Some(Added::Before(Box::new(stored.key))))
    }

    /// Adds to `batch` what the request has made.
    pub fn stage_once(batch: &mut WriteBatch, once: &Once, key: &ApiKey) {
        batch.put(once_key(&once.name), encode_once(once, &Place::of(key)));
        batch.put([MADE, &layout::time(key.created_at), &once.name].concat(), []);
    }

    /// Adds to `batch` that some requests which are over are forgotten, beginning behind `last`, and
    /// returns how far that went. It must come before what the batch remembers: in a batch the last word
    /// on a name counts, and what is read here is what was there before.
    pub fn stage_forgetting(
        &self,
        batch: &mut WriteBatch,
        since: Timestamp,
        last: &[u8],
    ) -> Result<Vec<u8>, ReadError> {
        let after = Some(last).filter(|last| !last.is_empty());
        let oldest = self.entries(MADE, after, FORGOTTEN_AT_ONCE, Reach::Disk, |key, _| {
            Ok(key.split_first_chunk().map(|(time, name)| (*time, name.to_vec())))
        })?;
        let mut last = last.to_vec();
        for (time, name) in oldest {
            if time >= layout::time(since) {
                break;
            }
            last = [&time[..], &name].concat();
            batch.delete([MADE, &last].concat());
            let value = self.default_value(&once_key(&name), Reach::Disk)?;
            let made = value.map(|value| decode_once(&value)).transpose()?;
            // The name may have been used again since.
            if made.and_then(|(_, place)| place.created_at()).is_some_and(|at| at < since) {
                batch.delete(once_key(&name));
            }
        }
        Ok(last)
    }
}
