//! The commands, one file each.

pub mod copy;
pub mod serve;
pub mod token;
