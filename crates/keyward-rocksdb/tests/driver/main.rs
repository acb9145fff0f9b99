//! The driver against the disk. One program, because each would link RocksDB anew.

mod contract;
mod fixture;
mod recovery;
