//! `keyward copy` between the tested driver and itself, and where the tested driver is not RocksDB,
//! between RocksDB and it, both ways.

mod fixture;
mod live;
mod merging;
mod moving;
mod refusing;
mod stopping;
