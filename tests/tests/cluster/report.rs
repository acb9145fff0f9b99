//! What came of a load: judged, and whether it can mean anything.

use std::time::Duration;

use keyward_tests::history::{Figures, History, Rule};

use crate::LEEWAY;

/// Violations, as they are told at most.
const TOLD: usize = 10;

/// The judgement of a history.
#[derive(Debug)]
pub struct Report {
    pub figures: Figures,
    violations: Vec<(Rule, String)>,
}

impl Report {
    /// Judges a history.
    pub fn of(history: &History) -> Self {
        let violations = history.violations();
        let report = Self {
            figures: history.figures(),
            violations: violations.iter().map(|it| (it.rule, it.to_string())).collect(),
        };
        eprintln!("{}", report.figures);
        report
    }

    /// Nothing happened that must not, in a history that would have shown it.
    pub fn assert_strict(&self) -> &Self {
        let told: Vec<&str> = self.violations.iter().take(TOLD).map(|(_, told)| &**told).collect();
        let (count, figures) = (self.violations.len(), &self.figures);
        assert!(told.is_empty(), "{count} violations in {figures}:\n{}", told.join("\n"));
        self.assert_meaningful();
        self
    }

    /// Revoked keys were accepted, and nothing else happened that must not.
    pub fn assert_stale(&self) {
        let of = |rule| self.violations.iter().filter(move |(it, _)| *it == rule);
        let stale = of(Rule::RevokedIsRefused).count();
        eprintln!("{stale} stale acceptances");
        assert!(stale > 0, "no violation was found in {}", self.figures);
        assert_eq!(stale, self.violations.len(), "{:?}", self.violations.last());
        self.assert_meaningful();
    }

    /// Of most revocations a node would have shown that they had not reached it.
    fn assert_meaningful(&self) {
        let figures = &self.figures;
        assert!(figures.accepted > 3 * figures.revocations, "few were accepted: {figures}");
        assert!(figures.refused > 3 * figures.revocations, "few were refused: {figures}");
        assert!(2 * figures.witnessed > figures.revocations, "few were witnessed: {figures}");
    }

    /// Every call was answered with what was asked for: nothing was in its way.
    pub fn assert_calm(&self) -> &Self {
        let figures = &self.figures;
        assert_eq!(figures.lost + figures.deletions_lost, 0, "{figures}");
        // A machine that is busy with something else may keep a node from its poll.
        let judged = figures.accepted + figures.refused;
        assert!(figures.unavailable * 100 <= judged, "{figures}");
        assert!(figures.deletions_unavailable * 100 <= figures.revocations, "{figures}");
        self
    }

    /// Every deletion was answered within the longest window, and what a busy machine adds.
    pub fn assert_deleted_within(&self, window: Duration) -> &Self {
        let slowest = self.figures.deletion_within(100);
        assert!(slowest <= window + LEEWAY, "{}", self.figures);
        self
    }
}
