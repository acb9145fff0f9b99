//! The commands, one module each.

pub mod audit;
pub mod check;
pub mod completions;
pub mod copy;
pub mod keys;
mod output;
pub mod serve;
pub mod token;
pub mod window;
