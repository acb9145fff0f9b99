//! What fuzz targets have in common. A target is a test in a module named `fuzz`, beside the code that
//! reads what others wrote; it says what must hold of any input. Its corpus is a directory of inputs
//! in the crate, among them one that is good for every form that there is: from those everything else is made.
//!
//! Edits are drawn at random and not steered by coverage. Counting coverage takes flags for the compiler,
//! and every other set of flags is another build of RocksDB (decision 1). What makes up for it is that
//! edits carry pieces from one input of the corpus into another, so that most of what comes out is
//! almost right.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestError, TestRunner};

/// How many seconds each target is given inputs for. One, where it is not set.
const SECONDS: &str = "KEYWARD_FUZZ_SECONDS";

/// Inputs between two looks at the clock.
const BATCH: u32 = 500;

/// Gives `target` every input in the directory `corpus`, and then what edits make of them until the
/// time is over.
///
/// # Panics
///
/// Where `target` does, with the smallest input found for which it does; and where the corpus cannot
/// be read.
pub fn fuzz(corpus: &str, target: impl Fn(&[u8])) {
    let inputs = read(Path::new(corpus));
    for (name, input) in &inputs {
        println!("{name}");
        target(input);
    }
    let inputs = edited(inputs.into_iter().map(|(_, input)| input).collect());
    let config = Config { cases: BATCH, failure_persistence: None, ..Config::default() };
    let end = Instant::now() + time();
    while Instant::now() < end {
        // A runner counts, and has run when it has counted to the end.
        let outcome = TestRunner::new(config.clone()).run(&inputs, |input| {
            target(&input);
            Ok(())
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(why, input)) => {
                panic!("{why}\nfor this input, to be added to {corpus}:\n{}", input.escape_ascii())
            }
            Err(aborted) => panic!("{aborted}"),
        }
    }
}

fn read(corpus: &Path) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(corpus).unwrap_or_else(|e| panic!("{}: {e}", corpus.display()));
    let mut inputs: Vec<(String, Vec<u8>)> = files
        .map(|file| {
            let path = file.expect("a directory can be read to its end").path();
            let input = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            (path.display().to_string(), input)
        })
        .collect();
    assert!(!inputs.is_empty(), "{} is empty", corpus.display());
    // The order of a directory is no order; this one is the same everywhere.
    inputs.sort();
    inputs
}

fn time() -> Duration {
    let seconds = std::env::var(SECONDS).map(|text| text.parse());
    match seconds {
        Ok(seconds) => Duration::from_secs(seconds.unwrap_or_else(|e| panic!("{SECONDS}: {e}"))),
        Err(_) => Duration::from_secs(1),
    }
}

/// One of `inputs` after a few edits, each of which puts a piece in the place of some bytes.
fn edited(inputs: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let cut = prop_oneof![4 => 0..=2_usize, 1 => 0..=64_usize];
    let edit = (any::<Index>(), cut, pieces(inputs.clone()));
    (select(inputs), vec(edit, 0..5)).prop_map(|(mut input, edits)| {
        for (at, cut, piece) in edits {
            let from = at.index(input.len() + 1);
            let to = input.len().min(from + cut);
            input.splice(from..to, piece);
        }
        input
    })
}

/// Some bytes out of one of `inputs`, or any at all.
fn pieces(inputs: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let known = (select(inputs), any::<Index>(), 0..=48_usize).prop_map(|(input, at, len)| {
        let from = at.index(input.len() + 1);
        input[from..input.len().min(from + len)].to_vec()
    });
    prop_oneof![known, vec(any::<u8>(), 0..4)]
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use proptest::strategy::ValueTree as _;

    use super::*;

    const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus");

    #[test]
    fn every_input_of_the_corpus_comes_first_and_then_others() {
        let seen = RefCell::new(Vec::new());
        fuzz(CORPUS, |input| {
            let mut seen = seen.borrow_mut();
            if seen.len() < 10 {
                seen.push(input.to_vec());
            }
        });
        let seen = seen.into_inner();
        assert_eq!(seen[..2], [b"left".to_vec(), b"right".to_vec()]);
        assert_eq!(seen.len(), 10);
    }

    #[test]
    fn a_fault_is_found_and_told_with_the_smallest_input() {
        let found = AssertUnwindSafe(|| fuzz(CORPUS, |input| assert!(input.len() < 6, "a fault")));
        let told = catch_unwind(found).expect_err("pieces are put into what is five bytes long");
        let told = told.downcast::<String>().expect("it is told in words");
        let (what, smallest) =
            told.rsplit_once('\n').expect("the input stands in a line of its own");
        assert!(what.contains("a fault") && what.contains("to be added to"), "{told}");
        assert!(smallest.len() >= 6, "{told}");
    }

    #[test]
    fn pieces_of_one_input_get_into_another() {
        let inputs = edited(vec![b"left".to_vec(), b"right".to_vec()]);
        let mut runner = TestRunner::deterministic();
        let mut made = (0..50_000).map(|_| inputs.new_tree(&mut runner).unwrap().current());
        assert!(made.any(|input| input == b"leftright"));
    }
}
