//! keyward-rocksdb
