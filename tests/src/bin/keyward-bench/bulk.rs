//! A store of very many keys, made without the driver: its files are written in their order, which is
//! many times faster than having millions of changes sorted. What stands in them is what the driver
//! would have written, entry by entry, with its settings; in the end it is asked for some of it.
//!
//! There are no events: the store is as after `keyward copy` from one that has none.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use keyward_core::store::StoredKey;
use keyward_rocksdb::raw::{self, DIGESTS, Entry, IDS, KEYS};
use rocksdb::{Cache, ColumnFamilyDescriptor, DB, SstFileWriter};

use crate::population::{PER_WORKSPACE, Population};
use crate::storage::Storage;

/// Entries in a file, which makes one of the size that RocksDB itself would make.
const PER_FILE: usize = 500_000;
/// Records that the driver is asked for in the end.
const PROBES: usize = 1_000;

/// Makes a store of all keys of `population` in `directory`.
pub async fn fill(directory: &Path, population: &Population) -> anyhow::Result<()> {
    let storage = Storage::RocksDb(directory.to_owned());
    // The driver makes the directory and its format.
    storage.open().await?.close().await?;
    std::thread::scope(|scope| {
        let families = [KEYS, DIGESTS, IDS].map(|family| {
            scope.spawn(move || write(directory, population, family).context("writing its files"))
        });
        let mut files = Vec::new();
        for (family, written) in [KEYS, DIGESTS, IDS].into_iter().zip(families) {
            let written = written.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
            files.push((family, written));
        }
        adopt(directory, files)
    })?;
    probe(&storage, population).await
}

/// Opens the database in `directory` without the driver, with the driver's settings and so much cache.
pub fn open(directory: &Path, cache: &Cache) -> Result<DB, rocksdb::Error> {
    DB::open_cf_descriptors(&raw::options(), directory, families(cache))
}

/// The same beside a process that uses it, to read what is there.
pub fn open_to_read(directory: &Path, cache: &Cache) -> Result<DB, rocksdb::Error> {
    DB::open_cf_descriptors_read_only(&raw::options(), directory, families(cache), false)
}

fn families(cache: &Cache) -> [ColumnFamilyDescriptor; 4] {
    ["default", KEYS, DIGESTS, IDS]
        .map(|name| ColumnFamilyDescriptor::new(name, raw::family_options(cache)))
}

/// Writes the files of one column family.
fn write(
    directory: &Path,
    population: &Population,
    family: &'static str,
) -> anyhow::Result<Vec<PathBuf>> {
    let options = raw::family_options(&Cache::new_lru_cache(0));
    let numbers = in_order(population, family)?;
    let mut files = Vec::new();
    for (at, numbers) in numbers.chunks(PER_FILE).enumerate() {
        let path = directory.join(format!("{family}-{at}.sst"));
        let mut file = SstFileWriter::create(&options);
        file.open(&path)?;
        for number in numbers {
            let (key, value) = entry(&population.record(*number as usize)?, family)?;
            file.put(key, value)?;
        }
        file.finish()?;
        files.push(path);
    }
    Ok(files)
}

/// The numbers of all keys in the order in which they stand in `family`.
fn in_order(population: &Population, family: &str) -> anyhow::Result<Vec<u32>> {
    let count = u32::try_from(population.count).context("so many keys are not meant")?;
    let mut numbers: Vec<u32> = (0..count).collect();
    if family == KEYS {
        // The newest of each workspace comes first.
        numbers.chunks_mut(PER_WORKSPACE).for_each(<[u32]>::reverse);
    }
    if family == DIGESTS {
        let first = |number: u32| {
            let digest = population.digest(number as usize)?;
            let first = digest.as_bytes().first_chunk().context("a digest is longer")?;
            // Two that begin alike may stand the wrong way round, which the writer would refuse.
            anyhow::Ok((u64::from_be_bytes(*first), number))
        };
        let mut firsts: Vec<_> = numbers.into_iter().map(first).collect::<Result<_, _>>()?;
        firsts.sort_unstable();
        numbers = firsts.into_iter().map(|(_, number)| number).collect();
    }
    Ok(numbers)
}

fn entry(record: &StoredKey, family: &str) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let entry = raw::entries(record).into_iter().find(|(name, ..)| *name == family);
    entry.map(|(_, key, value)| (key, value)).context("there is no such column family")
}

/// Has the database take the files over.
fn adopt(directory: &Path, files: Vec<(&'static str, Vec<PathBuf>)>) -> anyhow::Result<()> {
    let db = open(directory, &Cache::new_lru_cache(0))?;
    let mut how = rocksdb::IngestExternalFileOptions::default();
    how.set_move_files(true);
    for (family, files) in files {
        let family = db.cf_handle(family).context("a column family is missing")?;
        db.ingest_external_file_cf_opts(family, &how, files)?;
    }
    Ok(())
}

/// Asks the driver for some of the records.
async fn probe(storage: &Storage, population: &Population) -> anyhow::Result<()> {
    let store = storage.open().await?;
    for number in population.spread(PROBES) {
        let record = population.record(number)?;
        let by_id = store.get(record.key.workspace_id, record.key.id).await?;
        let by_digest = store.find(&record.digest).await?;
        ensure!(by_digest.as_ref() == Some(&record.key), "a record is not found by its digest");
        ensure!(by_id == Some(record), "a record is not found by its id");
    }
    Ok(store.close().await?)
}

/// Bytes of a record as it stands in all column families, keys and values, without what files add.
pub fn own_bytes(population: &Population) -> anyhow::Result<usize> {
    let length = |(_, key, value): &Entry| key.len() + value.len();
    Ok(raw::entries(&population.record(0)?).iter().map(length).sum())
}

/// Bytes of all files of a store.
pub fn bytes_on_disk(directory: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for file in std::fs::read_dir(directory)? {
        let file = file?;
        // Its diary is as long as it lived, and not as many as its keys are.
        if !file.file_name().to_string_lossy().starts_with("LOG") {
            bytes += file.metadata()?.len();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use rocksdb::IteratorMode;

    use super::*;

    /// All that stands in the store.
    fn entries(directory: &Path) -> Vec<[Box<[u8]>; 2]> {
        let db = open_to_read(directory, &Cache::new_lru_cache(0)).unwrap();
        let families = ["default", KEYS, DIGESTS, IDS].map(|name| db.cf_handle(name).unwrap());
        let all = families.into_iter().flat_map(|it| db.iterator_cf(it, IteratorMode::Start));
        all.map(|entry| entry.unwrap().into()).collect()
    }

    #[tokio::test]
    async fn a_store_that_was_made_of_files_holds_what_the_driver_would_have_written() {
        let directory = tempfile::tempdir().unwrap();
        let [made, imported] = ["made", "imported"].map(|name| directory.path().join(name));
        // More than one workspace, the second of which is not full.
        let population = Population::new(PER_WORKSPACE + 1_000).unwrap();
        fill(&made, &population).await.unwrap();
        let store = Storage::RocksDb(imported.clone()).open().await.unwrap();
        let records = (0..population.count).map(|number| population.record(number).unwrap());
        store.import(&records.collect::<Vec<_>>()).await.unwrap();
        store.close().await.unwrap();
        let (made, imported) = (entries(&made), entries(&imported));
        assert_eq!(made.len(), 3 * population.count + 1);
        assert!(made == imported);
    }
}
