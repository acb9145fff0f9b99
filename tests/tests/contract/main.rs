//! The wire contract, row by row, asked of the real binary. The driver is the one that
//! `KEYWARD_TEST_DRIVER` names.

mod audit;
mod bodies;
mod bulk;
mod callers;
mod documented;
mod forward_auth;
mod idempotency;
mod identity_provider;
mod key_callers;
mod keys_command;
mod lifecycle;
mod operations;
mod order;
mod pages;
mod prefixes;
mod problems;
mod program;
mod secret_scanning;
mod token_command;
mod uses;
mod verify;
