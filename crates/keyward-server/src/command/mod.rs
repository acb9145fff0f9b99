//! The commands, one module each.

pub mod copy;
pub mod serve;
pub mod token;
pub mod window;
