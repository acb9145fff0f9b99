//! The commands, one file each.

pub mod serve;
pub mod token;
