//! Crashes, ends and failing disks. On RocksDB, whatever driver is tested otherwise: a store in
//! memory has nothing to lose.

mod disconnect;
mod disk;
mod end;
mod kill;
