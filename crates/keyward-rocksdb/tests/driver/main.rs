//! The driver against the disk. One program, because each would link RocksDB anew.

mod concurrency;
mod contract;
mod fixture;
mod ownership;
mod recovery;
