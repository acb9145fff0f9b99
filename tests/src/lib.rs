//! What every driver and the whole binary must do.
//!
//! | room | holds |
//! |---|---|
//! | [`cases`] | the conformance list: what every storage driver must do, written once |
//! | [`drivers`] | the drivers that the list is run on |
//! | [`records`] | records to store |
//! | [`service`] | a service over a store, as the server puts it together |
//! | [`faulty`] | a store that pauses and fails when it is told to |
//!
//! The tests themselves are in `tests/`. They use what is here and nothing of the server's: the
//! binary is judged from outside.
#![expect(clippy::missing_panics_doc, reason = "a test that cannot go on panics")]

pub mod cases;
pub mod drivers;
pub mod faulty;
pub mod records;
pub mod service;
