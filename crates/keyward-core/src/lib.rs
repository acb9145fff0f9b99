//! The domain of Keyward: workspace API keys, their lifecycle and their verification.
//!
//! This crate knows nothing of sockets, databases or runtimes. A line of code belongs here when it
//! would stay as it is if the transport changed and if the database changed.
//!
//! | room | holds |
//! |---|---|
//! | [`id`] | typed UUIDs |
//! | [`secret`] | what a key looks like: minting, parsing, checksum, digest |
//! | [`key`] | the record of a key and the one transition of its status |
//! | [`details`] | what a key may have beyond the documented fields |
//! | [`change`] | what may become of a record that is there |
//! | [`audit`] | what was done to keys, by whom, and the chain that shows tampering |
//! | [`scope`] | what a credential may do |
//! | [`caller`] | who asks, and the proof that they may |
//! | [`store`] | the contract that every storage driver keeps |
//! | [`fingerprint`] | what two stores with the same records have in common |
//! | [`service`] | create, list and change: one authorised store call each |
//! | [`revoke`] | the end of keys: one, those that somebody shows, and many at once |
//! | [`verify`] | the answer to "is this key good?", at the speed of memory |
//! | [`cache`] | the cell of remembered records behind it |
//! | [`uses`] | when keys were last used, on its way to the store |
//! | [`proof`] | the proof that the cell is up to date with a store that others write too |
//! | [`freshness`] | how a node comes to that proof: polls, who waits for them, and the barrier |
//! | [`clock`] | time and randomness, injected |
//! | [`memory`] | the reference driver, an executable specification of [`store`] |

pub mod audit;
pub mod cache;
pub mod caller;
pub mod change;
pub mod clock;
pub mod details;
pub mod fingerprint;
pub mod freshness;
pub mod id;
pub mod key;
pub mod memory;
pub mod proof;
pub mod revoke;
pub mod scope;
pub mod secret;
pub mod service;
pub mod store;
mod sync;
#[cfg(test)]
mod testing;
pub mod uses;
pub mod verify;
