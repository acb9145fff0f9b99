//! Requests that make something once, in the database.

use keyward_core::key::ApiKey;
use keyward_core::store::{Added, Once};
use rocksdb::WriteBatch;

use super::Database;
use crate::codec::events::{decode_once, encode_once};
use crate::error::ReadError;
use crate::layout::{self, MADE, ONCE, Place};
use crate::setup::Reach;

/// Requests that are forgotten, where they are over, each time that one is remembered. More than one,
/// so that they do not gather.
const FORGOTTEN_AT_ONCE: usize = 4;

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

    /// Adds to `batch` what the request has made, and forgets some that are over.
    pub fn stage_once(
        &self,
        batch: &mut WriteBatch,
        once: &Once,
        key: &ApiKey,
    ) -> Result<(), ReadError> {
        let oldest = self.entries(MADE, None, FORGOTTEN_AT_ONCE, Reach::Disk, |key, _| {
            Ok(key.split_first_chunk().map(|(time, name)| (*time, name.to_vec())))
        })?;
        for (time, name) in oldest {
            if time >= layout::time(once.since) {
                break;
            }
            batch.delete([MADE, &time, &name].concat());
            let value = self.default_value(&once_key(&name), Reach::Disk)?;
            let made = value.map(|value| decode_once(&value)).transpose()?;
            // The name may have been used again since.
            if made.and_then(|(_, place)| place.created_at()).is_some_and(|at| at < once.since) {
                batch.delete(once_key(&name));
            }
        }
        batch.put(once_key(&once.name), encode_once(once, &Place::of(key)));
        batch.put([MADE, &layout::time(key.created_at), &once.name].concat(), []);
        Ok(())
    }
}
