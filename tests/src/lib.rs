//! What every driver and the whole binary must do.
//!
//! | room | holds |
//! |---|---|
//! | [`cases`] | the conformance list: what every storage driver must do, written once |
//! | [`drivers`] | the drivers that the list is run on |
//! | [`cluster`], [`proxy`] | a Postgres that may be stopped and killed, and a way to it that may be cut |
//! | [`postgres`] | databases for the Postgres driver |
//! | [`records`] | records to store |
//! | [`service`] | a service over a store, as the server puts it together |
//! | [`faulty`] | a store that pauses and fails when it is told to |
//! | [`launch`], [`server`] | the real binary: started, stopped, killed |
//! | [`deployment`] | one that runs already, in place of those |
//! | [`client`], [`raw`] | requests, and bytes that no client library would send |
//! | [`tenant`] | one workspace and the documented calls |
//! | [`ledger`] | what clients know of keys before something fails |
//! | [`history`] | what clients saw of keys on all nodes, and whether it may have happened |
//! | [`tokens`], [`identity`] | callers' tokens, and an identity provider that signs them |
//! | [`gateway`] | the documented gateways |
//! | [`toy`] | a toy HTTP server, for what stands around Keyward |
//! | [`wait`] | waiting for what must happen |
//!
//! The tests themselves are in `tests/`. They use nothing of the server's: the binary is judged
//! from outside.
#![expect(clippy::missing_panics_doc, reason = "a test that cannot go on panics")]
#![expect(clippy::return_self_not_must_use, reason = "an assertion gives back what it judged")]

pub mod cases;
pub mod client;
pub mod cluster;
pub mod deployment;
pub mod drivers;
pub mod faulty;
pub mod gateway;
pub mod history;
pub mod identity;
pub mod launch;
pub mod ledger;
pub mod postgres;
pub mod proxy;
pub mod raw;
pub mod records;
pub mod server;
pub mod service;
pub mod tenant;
pub mod tokens;
pub mod toy;
pub mod wait;
