//! A node that verifies.

use crate::store::{Change, Delete, Position, Store};
use crate::{PATIENCE, Rule, Strictness, WINDOW};

/// A poll that was sent so long ago proves nothing to any verification.
const OLD: i8 = WINDOW + PATIENCE + 1;

/// The moment up to which arrivals are proved, in ticks from now; behind us where negative, and
/// none where it is of no use to any verification.
pub type FreshUntil = Option<i8>;

/// A node. Times are kept by its own clock and as distances from now, so that the model has no end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Node {
    /// Whether its clock has missed a tick already.
    pub missed: bool,
    /// Whether the machine is suspended: it does nothing then.
    pub suspended: bool,
    /// The verification that could break the promise: it begins when the revocation was answered.
    pub verification: Verification,
    /// Up to when arrivals are proved.
    pub proof: FreshUntil,
    /// The newest change that is applied, once one poll was.
    pub applied: Option<Position>,
    /// What is remembered of the key: whether it is active.
    pub cell: Option<bool>,
    /// The one poll that is in flight, if one is.
    pub poll: Poll,
    /// The fill of some earlier verification. That of the verification itself is no step of its
    /// own: it is sent when the revocation is committed, and sees it.
    pub fill: Fill,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Poll {
    #[default]
    None,
    /// Under way to the store.
    Sent {
        age: i8,
        /// Whether the verification arrived after it was sent. Within one tick the ages do not say.
        before_arrival: bool,
    },
    /// Under way back.
    Seen { news: News },
    /// Half applied: the node has evicted and not published, or, where that rule is taken away, the
    /// reverse.
    Half { news: News },
}

/// What a poll brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct News {
    /// What it proves.
    pub proof: FreshUntil,
    /// The newest change that it saw.
    pub newest: Position,
    /// What it saw of the history.
    pub history: History,
    /// Whether the key is among the changes behind the one that was applied last.
    pub names_key: bool,
}

/// How the history of a poll's answer goes with what the node has applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum History {
    /// Nothing was applied.
    First,
    /// It begins with the change that was applied last.
    Continues,
    /// It does not.
    Foreign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fill {
    #[default]
    None,
    /// Under way to the store.
    Sent { void: bool },
    /// Under way back.
    Seen {
        void: bool,
        active: bool,
        /// The newest epoch that it saw, where epochs are compared in place of tickets.
        epoch: u8,
    },
}

/// A verification that begins when the revocation was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Verification {
    /// Not begun.
    #[default]
    Before,
    /// It waits for its proof.
    Arrived {
        /// How long ago.
        age: i8,
        /// What was read before there was a proof, where that rule is taken away.
        early: Option<bool>,
    },
    /// It has its proof.
    Proved,
    /// It waits for the fill of an earlier one, where that is not forbidden.
    Joined,
    /// It was answered: accepted or refused.
    Answered(bool),
    /// It was answered with 503.
    Undecided,
}

/// What can happen here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeStep {
    PollIsSent,
    PollSeesTheStore,
    PollMeetsAStandby,
    PollIsLost,
    PollEvicts,
    PollProves,
    FillIsSent,
    FillSeesTheStore,
    FillComesBack,
    Arrives,
    ReadsTooEarly,
    IsProved,
    GivesUp,
    ReadsTheCell,
    AsksTheStore,
    JoinsTheFill,
    MachineIsSuspended,
    MachineResumes,
}

impl Node {
    /// Time passes on the node's clock.
    pub fn grow_older(&mut self) {
        let nearer = |until: FreshUntil| until.and_then(|until| useful(until - 1));
        self.proof = nearer(self.proof);
        match &mut self.poll {
            Poll::Sent { age, .. } => *age = (*age + 1).min(OLD),
            Poll::Seen { news } | Poll::Half { news } => news.proof = nearer(news.proof),
            Poll::None => {}
        }
        if let Verification::Arrived { age, .. } = &mut self.verification {
            *age = (*age + 1).min(PATIENCE + 1);
        }
    }

    /// Whether nothing more is to be learned here.
    pub fn is_done(&self) -> bool {
        matches!(self.verification, Verification::Answered(_) | Verification::Undecided)
    }

    /// Whether the node is fresh, has applied the revocation, and remembers the key as active.
    pub fn contradicts(&self, store: &Store) -> bool {
        let applied = store.revocation().zip(self.applied).is_some_and(|(revocation, applied)| {
            applied.0 > revocation.epoch || applied == (revocation.epoch, revocation.nonce)
        });
        let fresh = self.proof.is_some_and(|until| until >= 0);
        applied && fresh && self.cell == Some(true)
    }

    /// Whether the key is remembered as revoked.
    pub fn refuses(&self) -> bool {
        self.cell == Some(false)
    }

    pub fn steps(&self, model: &Strictness, store: &Store) -> Vec<NodeStep> {
        if self.is_done() {
            return Vec::new();
        }
        if self.suspended {
            return vec![NodeStep::MachineResumes];
        }
        let mut steps = Vec::with_capacity(8);
        if model.suspends() {
            steps.push(NodeStep::MachineIsSuspended);
        }
        match self.poll {
            Poll::None => steps.push(NodeStep::PollIsSent),
            Poll::Sent { .. } => {
                steps.extend([NodeStep::PollSeesTheStore, NodeStep::PollMeetsAStandby]);
            }
            Poll::Seen { .. } => steps.extend([first_half(model), NodeStep::PollIsLost]),
            Poll::Half { .. } => steps.push(second_half(model)),
        }
        steps.push(match self.fill {
            Fill::None => NodeStep::FillIsSent,
            Fill::Sent { .. } => NodeStep::FillSeesTheStore,
            Fill::Seen { .. } => NodeStep::FillComesBack,
        });
        steps.extend(self.verification_steps(model, store));
        steps
    }

    fn verification_steps(&self, model: &Strictness, store: &Store) -> Vec<NodeStep> {
        match self.verification {
            Verification::Before if store.delete == Delete::Answered => vec![NodeStep::Arrives],
            Verification::Arrived { age, .. } if age > PATIENCE => vec![NodeStep::GivesUp],
            Verification::Arrived { age, early } => {
                let mut steps = Vec::new();
                if self.proof.is_some_and(|until| age + until >= 0) {
                    steps.push(NodeStep::IsProved);
                }
                if early.is_none() && self.cell.is_some() && !model.has(Rule::ProofBeforeRead) {
                    steps.push(NodeStep::ReadsTooEarly);
                }
                steps.extend(self.steps_of_a_miss(model));
                steps
            }
            Verification::Proved if self.cell.is_some() => vec![NodeStep::ReadsTheCell],
            Verification::Proved => self.steps_of_a_miss(model),
            _ => Vec::new(),
        }
    }

    /// A miss needs no proof: its read of the store is sent after the verification arrived.
    fn steps_of_a_miss(&self, model: &Strictness) -> Vec<NodeStep> {
        match (self.cell, self.fill) {
            (Some(_), _) => Vec::new(),
            (None, Fill::Sent { .. } | Fill::Seen { .. }) if !model.has(Rule::OwnFill) => {
                vec![NodeStep::JoinsTheFill]
            }
            (None, _) => vec![NodeStep::AsksTheStore],
        }
    }

    pub fn take(&mut self, step: NodeStep, model: &Strictness, store: &Store) {
        match step {
            NodeStep::MachineIsSuspended => self.suspended = true,
            NodeStep::MachineResumes => self.suspended = false,
            NodeStep::PollIsSent => self.poll = Poll::Sent { age: 0, before_arrival: false },
            NodeStep::PollSeesTheStore
            | NodeStep::PollMeetsAStandby
            | NodeStep::PollIsLost
            | NodeStep::PollEvicts
            | NodeStep::PollProves => self.go_on_polling(step, model, store),
            NodeStep::FillIsSent => self.fill = Fill::Sent { void: false },
            NodeStep::FillSeesTheStore => {
                if let Fill::Sent { void } = self.fill {
                    let epoch =
                        if model.has(Rule::TicketsNotEpochs) { 0 } else { store.newest().0 };
                    self.fill = Fill::Seen { void, active: store.revocation().is_none(), epoch };
                }
            }
            NodeStep::FillComesBack => self.keep_fill(model),
            _ => self.go_on_verifying(step),
        }
    }

    fn go_on_polling(&mut self, step: NodeStep, model: &Strictness, store: &Store) {
        match (step, self.poll) {
            (NodeStep::PollEvicts, Poll::Seen { news } | Poll::Half { news }) => {
                self.evict(news, model);
            }
            (NodeStep::PollProves, Poll::Seen { news } | Poll::Half { news }) => {
                self.publish(news);
            }
            _ => {}
        }
        self.poll = match (step, self.poll) {
            (NodeStep::PollSeesTheStore, Poll::Sent { age, before_arrival }) => {
                let proof = self.proof_of(age, before_arrival, store.node_window());
                Poll::Seen { news: self.news(proof, store) }
            }
            (NodeStep::PollMeetsAStandby, Poll::Sent { age, before_arrival })
                if !model.has(Rule::PrimaryProves) =>
            {
                let proof = self.proof_of(age, before_arrival, store.node_window());
                Poll::Seen { news: self.news_of_a_standby(proof) }
            }
            (NodeStep::PollEvicts | NodeStep::PollProves, Poll::Seen { news }) => {
                Poll::Half { news }
            }
            _ => Poll::None,
        };
    }

    /// What a poll proves that was sent so long ago. A closed window proves nothing to a
    /// verification that arrives later, not even within the tick.
    fn proof_of(&self, age: i8, before_arrival: bool, window: i8) -> FreshUntil {
        let asked_for = self.verification != Verification::Before && !before_arrival;
        if window > 0 || asked_for { useful(window - age) } else { None }
    }

    fn news(&self, proof: FreshUntil, store: &Store) -> News {
        let newest = store.newest();
        let Some(applied) = self.applied else {
            // A first poll asks for the newest epoch alone.
            return News { proof, newest, history: History::First, names_key: false };
        };
        let known = store.knows(applied);
        let behind = |change: Change| change.epoch > applied.0;
        News {
            proof,
            newest,
            history: if known { History::Continues } else { History::Foreign },
            names_key: store.revocation().is_some_and(behind),
        }
    }

    /// A standby may have seen nothing since the node last asked.
    fn news_of_a_standby(&self, proof: FreshUntil) -> News {
        let history = if self.applied.is_none() { History::First } else { History::Continues };
        News { proof, newest: self.applied.unwrap_or((0, 0)), history, names_key: false }
    }

    fn evict(&mut self, news: News, model: &Strictness) {
        self.applied = Some(news.newest);
        let (empties, voids) = match news.history {
            History::First if model.has(Rule::FirstPollEmpties) => (true, true),
            History::First | History::Continues => (false, false),
            History::Foreign => {
                (model.has(Rule::ForeignHistoryEmpties), model.has(Rule::ForeignHistoryVoids))
            }
        };
        if empties || news.names_key {
            self.cell = None;
        }
        if (voids || news.names_key)
            && let Fill::Sent { void } | Fill::Seen { void, .. } = &mut self.fill
        {
            *void = true;
        }
    }

    /// A proof only ever grows: what an older poll proved under a wider window stays proved.
    fn publish(&mut self, news: News) {
        self.proof = self.proof.max(news.proof);
    }

    fn keep_fill(&mut self, model: &Strictness) {
        let Fill::Seen { void, active, epoch } = self.fill else { return };
        self.fill = Fill::None;
        let stale = if model.has(Rule::TicketsNotEpochs) {
            void
        } else {
            self.applied.is_some_and(|applied| epoch < applied.0)
        };
        if !stale || !model.has(Rule::Tickets) {
            self.cell = Some(active);
        }
        if self.verification == Verification::Joined {
            self.verification = Verification::Answered(active);
        }
    }

    fn go_on_verifying(&mut self, step: NodeStep) {
        self.verification = match (step, self.verification) {
            (NodeStep::Arrives, _) => {
                if let Poll::Sent { before_arrival, .. } = &mut self.poll {
                    *before_arrival = true;
                }
                Verification::Arrived { age: 0, early: None }
            }
            (NodeStep::ReadsTooEarly, Verification::Arrived { age, .. }) => {
                Verification::Arrived { age, early: self.cell }
            }
            (NodeStep::IsProved, Verification::Arrived { early: Some(accepted), .. }) => {
                Verification::Answered(accepted)
            }
            (NodeStep::IsProved, _) => Verification::Proved,
            (NodeStep::ReadsTheCell, _) => Verification::Answered(self.cell == Some(true)),
            (NodeStep::AsksTheStore, _) => Verification::Answered(false),
            (NodeStep::JoinsTheFill, _) => Verification::Joined,
            (NodeStep::GivesUp, _) => Verification::Undecided,
            (_, unchanged) => unchanged,
        };
    }
}

fn first_half(model: &Strictness) -> NodeStep {
    if model.has(Rule::EvictBeforeProof) { NodeStep::PollEvicts } else { NodeStep::PollProves }
}

fn second_half(model: &Strictness) -> NodeStep {
    if model.has(Rule::EvictBeforeProof) { NodeStep::PollProves } else { NodeStep::PollEvicts }
}

/// Nothing, where no verification is still waiting that this would prove.
fn useful(until: i8) -> FreshUntil {
    (until >= -PATIENCE).then_some(until)
}
