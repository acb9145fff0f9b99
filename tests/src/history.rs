//! What clients saw of keys on all nodes, and whether it may have happened.
//!
//! Every call is an interval on the one clock of the process that tests: it began before the request was
//! sent and ended after the answer was read. Nothing is known of the moments in between, so a rule is
//! broken only where no order of what happened inside the intervals could keep it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When a call began and ended, since the beginning of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Before the request was sent.
    pub begun: Duration,
    /// After the answer was read, or when nobody waited for it any more.
    pub ended: Duration,
}

impl Span {
    /// How long it was.
    pub fn length(self) -> Duration {
        self.ended.saturating_sub(self.begun)
    }
}

/// A key of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(usize);

/// What a node said of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The key is good.
    Accepted,
    /// The key is not good, or not known.
    Refused,
    /// 503.
    Unavailable,
    /// Nothing, because the connection broke.
    Lost,
    /// Some other status, which nobody expects.
    Other(u16),
}

/// One verification.
#[derive(Debug, Clone, Copy)]
pub struct Verification {
    /// The key that was shown.
    pub key: Key,
    /// The number of the node, less than 64.
    pub node: usize,
    /// When.
    pub span: Span,
    /// The answer.
    pub verdict: Verdict,
}

/// What came of one request to revoke a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 200: from now on the key is refused.
    Answered,
    /// 503: it may have been done, or be done later.
    Unavailable,
    /// No answer, or nobody waited for it. The same holds.
    Lost,
}

/// A history: keys that were created, and what was done with them.
#[derive(Debug, Default)]
pub struct History {
    keys: Vec<Life>,
    verifications: Vec<Verification>,
    deletions: Vec<(Span, Outcome)>,
}

/// What is to be known of a key to judge a verification of it.
#[derive(Debug, Clone, Copy)]
struct Life {
    created: Span,
    /// When the first request to revoke it began. From then on nodes may differ.
    asked: Option<Duration>,
    /// When the first answer came that said it was revoked. From then on they may not.
    revoked: Option<Duration>,
}

impl History {
    /// Notes a creation that was answered. One that was not left no key that anybody knows.
    pub fn created(&mut self, created: Span) -> Key {
        self.keys.push(Life { created, asked: None, revoked: None });
        Key(self.keys.len() - 1)
    }

    /// Notes a request to revoke a key, be it the first or a repeated one.
    pub fn deleted(&mut self, key: Key, span: Span, outcome: Outcome) {
        let life = &mut self.keys[key.0];
        note(&mut life.asked, span.begun);
        if outcome == Outcome::Answered {
            note(&mut life.revoked, span.ended);
        }
        self.deletions.push((span, outcome));
    }

    /// Notes that something else than a call may revoke this key from now on.
    pub fn threatened(&mut self, key: Key, begun: Duration) {
        note(&mut self.keys[key.0].asked, begun);
    }

    /// Notes a verification.
    pub fn verified(&mut self, verification: Verification) {
        self.verifications.push(verification);
    }

    /// How many keys have been revoked, and their clients told so.
    pub fn revocations(&self) -> usize {
        self.keys.iter().filter(|life| life.revoked.is_some()).count()
    }

    /// All that must not have happened. Each verification is looked at once.
    pub fn violations(&self) -> Vec<Violation> {
        let judge = |&verification: &Verification| {
            let life = self.keys[verification.key.0];
            let rule = life.broken_by(&verification)?;
            Some(Violation { rule, verification, life })
        };
        self.verifications.iter().filter_map(judge).collect()
    }

    /// How much of everything there was.
    pub fn figures(&self) -> Figures {
        let verdicts = |wanted| self.verifications.iter().filter(|it| it.verdict == wanted).count();
        let outcomes = |wanted| self.deletions.iter().filter(|(_, it)| *it == wanted).count();
        let answered = self.deletions.iter().filter(|(_, it)| *it == Outcome::Answered);
        let mut deletions: Vec<Duration> = answered.map(|(span, _)| span.length()).collect();
        deletions.sort_unstable();
        Figures {
            accepted: verdicts(Verdict::Accepted),
            refused: verdicts(Verdict::Refused),
            unavailable: verdicts(Verdict::Unavailable),
            lost: verdicts(Verdict::Lost),
            revocations: self.revocations(),
            witnessed: self.witnessed(),
            deletions_unavailable: outcomes(Outcome::Unavailable),
            deletions_lost: outcomes(Outcome::Lost),
            deletions,
        }
    }

    /// How many revocations would not have passed unnoticed if they had not reached a node: one that
    /// had accepted the key before was asked again promptly after the answer, and had one itself.
    fn witnessed(&self) -> usize {
        let mut nodes = vec![(0_u64, 0_u64); self.keys.len()];
        for it in &self.verifications {
            let life = self.keys[it.key.0];
            let (before, after) = &mut nodes[it.key.0];
            let asked_in_time = life.asked.is_none_or(|asked| it.span.begun < asked);
            if asked_in_time && it.verdict == Verdict::Accepted {
                *before |= 1 << it.node;
            }
            let since = life.revoked.and_then(|revoked| it.span.begun.checked_sub(revoked));
            let answered = matches!(it.verdict, Verdict::Accepted | Verdict::Refused);
            if answered && since.is_some_and(|since| since < PROMPTLY) {
                *after |= 1 << it.node;
            }
        }
        nodes.iter().filter(|(before, after)| before & after != 0).count()
    }
}

/// Well within the time that a node may answer from memory by default.
const PROMPTLY: Duration = Duration::from_millis(100);

/// Keeps the earliest of the moments that are noted.
fn note(earliest: &mut Option<Duration>, moment: Duration) {
    *earliest = Some(earliest.map_or(moment, |earliest| earliest.min(moment)));
}

impl Life {
    fn broken_by(&self, it: &Verification) -> Option<Rule> {
        match it.verdict {
            Verdict::Accepted => self
                .revoked
                .is_some_and(|revoked| it.span.begun > revoked)
                .then_some(Rule::RevokedIsRefused),
            Verdict::Refused => {
                let created = it.span.begun > self.created.ended;
                let unasked = self.asked.is_none_or(|asked| it.span.ended < asked);
                (created && unasked).then_some(Rule::CreatedIsAccepted)
            }
            Verdict::Unavailable | Verdict::Lost => None,
            Verdict::Other(_) => Some(Rule::OneOfThree),
        }
    }
}

/// What every history must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A verification that starts after a DELETE was answered does not accept the key.
    RevokedIsRefused,
    /// A verification between the answer to the POST and the first DELETE does not refuse the key.
    CreatedIsAccepted,
    /// A verification says yes, no, or that it cannot say.
    OneOfThree,
}

/// Something that must not have happened.
#[derive(Debug, Clone, Copy)]
pub struct Violation {
    /// The rule that was broken.
    pub rule: Rule,
    verification: Verification,
    life: Life,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verification { key: Key(key), node, span, verdict } = self.verification;
        let Life { created, asked, revoked } = self.life;
        write!(
            f,
            "{:?} is broken: node {node} was asked about key {key} from {:?} to {:?} and answered \
             {verdict:?}; the key was created from {:?} to {:?}",
            self.rule, span.begun, span.ended, created.begun, created.ended
        )?;
        if let Some(asked) = asked {
            write!(f, ", asked to be revoked from {asked:?}")?;
        }
        if let Some(revoked) = revoked {
            write!(f, ", and answered to be revoked at {revoked:?}")?;
        }
        Ok(())
    }
}

/// How much of everything a history has.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "they are numbers of verdicts, of deletions and of keys")]
pub struct Figures {
    pub accepted: usize,
    pub refused: usize,
    pub unavailable: usize,
    pub lost: usize,
    pub revocations: usize,
    /// Revocations after which a node that had accepted the key was asked again promptly.
    pub witnessed: usize,
    pub deletions_unavailable: usize,
    pub deletions_lost: usize,
    /// How long each answered deletion took, the shortest first.
    pub deletions: Vec<Duration>,
}

impl Figures {
    /// The longest of the shortest deletions that make up this share of all.
    pub fn deletion_within(&self, percent: usize) -> Duration {
        let rank = (self.deletions.len() * percent).div_ceil(100).max(1);
        self.deletions.get(rank - 1).copied().unwrap_or_default()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} accepted, {} refused, {} unavailable, {} lost; {} revocations, {} of them witnessed; \
             deletions took {:?} (median), {:?} (99 %), {:?} (all); {} were answered 503, {} not",
            self.accepted,
            self.refused,
            self.unavailable,
            self.lost,
            self.revocations,
            self.witnessed,
            self.deletion_within(50),
            self.deletion_within(99),
            self.deletion_within(100),
            self.deletions_unavailable,
            self.deletions_lost,
        )
    }
}

/// A history that many tasks write, with its clock.
#[derive(Debug, Clone)]
pub struct Recorder {
    origin: Instant,
    history: Arc<Mutex<History>>,
}

impl Recorder {
    /// An empty history that begins now.
    pub fn new() -> Self {
        Self { origin: Instant::now(), history: Arc::default() }
    }

    /// The time.
    pub fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// What began then and ends now.
    pub fn since(&self, begun: Duration) -> Span {
        Span { begun, ended: self.now() }
    }

    /// The history so far, to note something in it or to judge it.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
