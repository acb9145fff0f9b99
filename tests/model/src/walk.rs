//! Random walks, for what is too large to be searched.

use stateright::Chooser;

use crate::{Step, Strictness, World};

/// Takes the possible steps at random, but lets time pass seldom: where it passes at every third
/// step, hardly a poll is applied within its window.
#[derive(Debug, Clone)]
pub struct Hurried;

/// One tick for so many other steps, about.
const HURRY: u64 = 12;

impl Chooser<Strictness> for Hurried {
    type State = SplitMix;

    fn new_state(&self, seed: u64) -> SplitMix {
        SplitMix(seed)
    }

    fn choose_initial_state(&self, random: &mut SplitMix, beginnings: &[World]) -> usize {
        random.below(beginnings.len())
    }

    fn choose_action(&self, random: &mut SplitMix, _: &World, steps: &[Step]) -> usize {
        // Ticks stand first.
        let is_tick = |step: &Step| matches!(step, Step::Tick { .. });
        let ticks = steps.iter().take_while(|step| is_tick(step)).count();
        if ticks == steps.len() || random.next().is_multiple_of(HURRY) {
            random.below(ticks)
        } else {
            ticks + random.below(steps.len() - ticks)
        }
    }
}

/// Random numbers that are the same for ever (Steele, Lea and Flood, 2014).
#[derive(Debug)]
pub struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of the numbers below `end`.
    fn below(&mut self, end: usize) -> usize {
        let end = end.max(1) as u64;
        usize::try_from(self.next() % end).unwrap_or_default()
    }
}
