//! When keys were last used.

use keyward_core::clock::Timestamp;
use keyward_core::store::{KeyPlace, Use};
use rocksdb::{DBRawIterator, WriteBatch};

use super::Database;
use crate::codec::Malformed;
use crate::error::ReadError;
use crate::layout::{self, Place};
use crate::setup::{Reach, read_options};

/// The version of a value.
const VERSION: u8 = 1;
/// So many entries are stepped over before the next is sought. A step costs a tenth of that.
const STEPS: usize = 8;

impl Database {
    /// Those of `uses` that are later than what is known.
    pub fn news(&self, uses: &[Use], reach: Reach) -> Result<Vec<Use>, ReadError> {
        let keys: Vec<KeyPlace> = uses.iter().map(|it| it.key).collect();
        let known = self.last_uses(&keys, reach)?;
        let news = uses.iter().zip(known).filter(|(it, known)| known.is_none_or(|at| at < it.at));
        Ok(news.map(|(it, _)| *it).collect())
    }

    /// When these keys were last used, in their order: one way through the stretch that they are in,
    /// in which what lies between two of them is passed over.
    pub fn last_uses(
        &self,
        keys: &[KeyPlace],
        reach: Reach,
    ) -> Result<Vec<Option<Timestamp>>, ReadError> {
        let entry = |it: &KeyPlace| layout::used(&Place::new(it.workspace, it.position));
        let mut asked: Vec<(Vec<u8>, usize)> = keys.iter().map(entry).zip(0..).collect();
        // As they are already, where they come from a list.
        asked.sort_unstable();
        let mut last = vec![None; keys.len()];
        let [(first, _), ..] = &asked[..] else { return Ok(last) };
        let mut options = read_options(reach);
        options.set_iterate_lower_bound(first.clone());
        if let Some((end, _)) = asked.last() {
            options.set_iterate_upper_bound(layout::next(end));
        }
        let mut scan = self.db.raw_iterator_opt(options);
        scan.seek_to_first();
        for (entry, position) in asked {
            go_on_to(&mut scan, &entry);
            match scan.item() {
                Some((found, value)) if *found == *entry => last[position] = Some(decode(value)?),
                Some(_) => {}
                // The end, unless the status says otherwise.
                None => {
                    scan.status()?;
                    break;
                }
            }
        }
        Ok(last)
    }

    /// Adds to `batch` when keys were last used.
    pub fn stage_uses(batch: &mut WriteBatch, uses: &[Use]) {
        for Use { key, at } in uses {
            let mut value = [VERSION; 9];
            value[1..].copy_from_slice(&at.as_micros().to_be_bytes());
            batch.put(layout::used(&Place::new(key.workspace, key.position)), value);
        }
    }
}

/// Goes on to `entry`, or to what stands behind it where it is not there.
fn go_on_to(scan: &mut DBRawIterator<'_>, entry: &[u8]) {
    for _ in 0..STEPS {
        match scan.key() {
            Some(at) if at < entry => scan.next(),
            _ => return,
        }
    }
    if scan.key().is_some_and(|at| at < entry) {
        scan.seek(entry);
    }
}

fn decode(value: &[u8]) -> Result<Timestamp, Malformed> {
    let micros = match value.split_first() {
        Some((&VERSION, micros)) => micros.try_into().ok(),
        Some((&version, _)) => return Err(Malformed::Version(version)),
        None => None,
    };
    let time = micros.map(i64::from_be_bytes).and_then(Timestamp::from_micros);
    time.ok_or(Malformed::Field("last use"))
}

#[cfg(test)]
mod tests {
    use keyward_core::store::StoreError;
    use tempfile::TempDir;

    use super::super::tests::create;
    use super::*;
    use crate::testing::key;

    fn used(n: u64, micros: i64) -> Use {
        Use { key: (&key(1, n)).into(), at: Timestamp::from_micros(micros).unwrap() }
    }

    fn write(database: &Database, uses: &[Use]) {
        let mut batch = WriteBatch::default();
        Database::stage_uses(&mut batch, uses);
        database.write(batch).unwrap();
    }

    #[test]
    fn what_is_known_already_is_no_news() {
        let dir = TempDir::new().unwrap();
        let database = create(&dir);
        write(&database, &[used(1, 5), used(3, 5)]);
        let uses = [used(1, 5), used(2, 5), used(3, 6), used(1, 4)];
        let news = database.news(&uses, Reach::Disk).unwrap();
        assert_eq!(news, [used(2, 5), used(3, 6)]);
    }

    #[test]
    fn far_places_and_near_ones_are_found_in_any_order() {
        let dir = TempDir::new().unwrap();
        let database = create(&dir);
        let uses: Vec<Use> = (0..200).map(|n| used(n, 7 + i64::try_from(n).unwrap())).collect();
        write(&database, &uses);
        for asked in [vec![0, 199], vec![199, 0, 1, 2, 100], (0..200).rev().collect(), vec![]] {
            let keys: Vec<KeyPlace> = asked.iter().map(|n| (&key(1, *n)).into()).collect();
            let last = database.last_uses(&keys, Reach::Disk).unwrap();
            let expected = asked.iter().map(|n| Some(used(*n, 7 + i64::try_from(*n).unwrap()).at));
            assert!(last.into_iter().eq(expected), "{asked:?}");
        }
    }

    #[test]
    fn a_value_that_no_version_wrote_is_corrupt() {
        let dir = TempDir::new().unwrap();
        let database = create(&dir);
        let place = KeyPlace::from(&key(1, 1));
        let entry = layout::used(&Place::new(place.workspace, place.position));
        for value in [&[][..], &[1], &[1; 8], &[2; 9], &[1; 10], &[0xff; 9]] {
            database.db.put(&entry, value).unwrap();
            let read = database.last_uses(&[place], Reach::Disk);
            let corrupt = matches!(read, Err(ReadError::Failed(StoreError::Corrupt(_))));
            assert!(corrupt, "{value:?}");
        }
    }
}
