#![cfg_attr(
    not(test),
    expect(dead_code, unused_imports, reason = "the command line that calls this is not here yet")
)]

mod token;

fn main() {}
