//! The store, and those who change it.

use crate::{BARRIER, Rule, Strictness, WINDOW};

/// A place in the history of the store: an epoch and its nonce.
pub type Position = (u8, u8);

/// A committed change of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Change {
    /// Its place in the history.
    pub epoch: u8,
    /// Tells it from another change that had the same epoch in a history that was lost.
    pub nonce: u8,
    /// Whether it is the revocation of the key, and not a change of another record.
    pub revokes: bool,
}

/// The change of another record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Other {
    /// Not begun, or lost in a failover.
    #[default]
    Idle,
    /// Has its epoch, and has not committed.
    Open { epoch: u8 },
    /// Committed.
    Done,
}

/// The revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Delete {
    /// Not asked for yet.
    #[default]
    Idle,
    /// Has its epoch, and has not committed.
    Open {
        /// That epoch.
        epoch: u8,
    },
    /// Committed; what is to be waited is not known yet.
    Committed {
        /// Ticks since, by the clock of the node that revokes.
        passed: i8,
    },
    /// Waiting.
    Waiting {
        /// Ticks that are left.
        left: i8,
    },
    /// The node died in the wait.
    Died,
    /// The caller knows.
    Answered,
}

/// The two windows: the one that polls name and the one that revocations wait out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Windows {
    /// Both are nothing.
    Closed,
    /// Both are [`WINDOW`].
    Open,
    /// Polls name nothing any more, revocations still wait, for so many ticks by the operator's
    /// clock.
    Closing {
        /// Those ticks.
        left: i8,
    },
}

/// The store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Store {
    /// What is committed, in the order of commits.
    pub changes: Vec<Change>,
    /// The revocation.
    pub delete: Delete,
    /// The windows.
    pub windows: Windows,
    other: Other,
    failed_over: bool,
    /// The sequence that epochs are taken from where the clock row is not locked.
    sequence: u8,
}

/// What can happen here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreStep {
    OtherBegins,
    OtherCommits,
    DeleteBegins,
    DeleteCommits,
    DeleteFindsTheBarrier,
    DeleteIsAnswered,
    RevokerDies,
    DeleteIsRepeated,
    FailsOver,
    WindowOpens,
    NodesWindowCloses,
    BarrierWindowCloses,
    BothWindowsClose,
}

impl Store {
    /// A store that holds the active key, with either window.
    pub fn beginnings() -> [Self; 2] {
        [Windows::Open, Windows::Closed].map(|windows| Self {
            changes: Vec::new(),
            delete: Delete::Idle,
            windows,
            other: Other::Idle,
            failed_over: false,
            sequence: 0,
        })
    }

    /// The newest committed change; zeroes where there is none.
    pub fn newest(&self) -> Position {
        let newest = self.changes.iter().max_by_key(|change| change.epoch);
        newest.map_or((0, 0), |change| (change.epoch, change.nonce))
    }

    /// Whether this is what was committed there.
    pub fn knows(&self, position: Position) -> bool {
        position.0 == 0
            || self.changes.iter().any(|change| (change.epoch, change.nonce) == position)
    }

    /// The revocation, once it is committed.
    pub fn revocation(&self) -> Option<Change> {
        self.changes.iter().find(|change| change.revokes).copied()
    }

    /// The window that polls name.
    pub fn node_window(&self) -> i8 {
        if self.windows == Windows::Open { WINDOW } else { 0 }
    }

    /// What a revocation waits that asks now.
    fn barrier(&self, model: &Strictness) -> i8 {
        match self.windows {
            Windows::Closed => 0,
            _ if model.has(Rule::BarrierAllowsForDrift) => BARRIER,
            _ => BARRIER - 1,
        }
    }

    /// Whether somebody holds the clock row.
    fn locked(&self) -> bool {
        matches!(self.other, Other::Open { .. }) || matches!(self.delete, Delete::Open { .. })
    }

    pub fn steps(&self, model: &Strictness) -> Vec<StoreStep> {
        let mut steps = Vec::with_capacity(8);
        let free = !model.has(Rule::LockedClock) || !self.locked();
        match self.other {
            Other::Idle if free => steps.push(StoreStep::OtherBegins),
            Other::Open { .. } => steps.push(StoreStep::OtherCommits),
            _ => {}
        }
        match self.delete {
            Delete::Idle if free => steps.push(StoreStep::DeleteBegins),
            Delete::Open { .. } => steps.push(StoreStep::DeleteCommits),
            Delete::Committed { .. } => {
                steps.extend([StoreStep::DeleteFindsTheBarrier, StoreStep::RevokerDies]);
            }
            Delete::Waiting { left: 0 } => steps.push(StoreStep::DeleteIsAnswered),
            Delete::Waiting { .. } => steps.push(StoreStep::RevokerDies),
            Delete::Died => steps.push(StoreStep::DeleteIsRepeated),
            _ => {}
        }
        if free && model.changes_windows() {
            steps.extend(self.steps_of_the_windows(model));
        }
        if self.may_fail_over() {
            steps.push(StoreStep::FailsOver);
        }
        steps
    }

    fn steps_of_the_windows(&self, model: &Strictness) -> Vec<StoreStep> {
        match self.windows {
            Windows::Open if model.has(Rule::NodesShrinkFirst) => {
                vec![StoreStep::NodesWindowCloses]
            }
            Windows::Open => vec![StoreStep::BothWindowsClose],
            Windows::Closing { left: 0 } => {
                vec![StoreStep::WindowOpens, StoreStep::BarrierWindowCloses]
            }
            Windows::Closing { .. } | Windows::Closed => vec![StoreStep::WindowOpens],
        }
    }

    /// A revocation that must outlive the loss of a machine is replicated synchronously, and so is a
    /// change of the window: that is assumed.
    fn may_fail_over(&self) -> bool {
        let losable = self.changes.last().is_some_and(|change| !change.revokes);
        losable && !self.failed_over && !self.locked()
    }

    pub fn take(&mut self, step: StoreStep, model: &Strictness) {
        match step {
            StoreStep::OtherBegins => self.other = Other::Open { epoch: self.next_epoch(model) },
            StoreStep::DeleteBegins => self.delete = Delete::Open { epoch: self.next_epoch(model) },
            StoreStep::OtherCommits => {
                if let Other::Open { epoch } = self.other {
                    self.commit(epoch, false);
                    self.other = Other::Done;
                }
            }
            StoreStep::DeleteCommits => {
                if let Delete::Open { epoch } = self.delete {
                    self.commit(epoch, true);
                    self.delete = Delete::Committed { passed: 0 };
                }
            }
            StoreStep::DeleteFindsTheBarrier => {
                if let Delete::Committed { passed } = self.delete {
                    let barrier = if model.has(Rule::Barrier) { self.barrier(model) } else { 0 };
                    self.delete = Delete::Waiting { left: (barrier - passed).max(0) };
                }
            }
            StoreStep::DeleteIsAnswered => self.delete = Delete::Answered,
            StoreStep::RevokerDies => self.delete = Delete::Died,
            StoreStep::DeleteIsRepeated if model.has(Rule::RepeatedBarrier) => {
                self.delete = Delete::Committed { passed: 0 };
            }
            StoreStep::DeleteIsRepeated => self.delete = Delete::Waiting { left: 0 },
            StoreStep::FailsOver => {
                self.changes.pop();
                self.other = Other::Idle;
                self.failed_over = true;
            }
            StoreStep::WindowOpens => self.windows = Windows::Open,
            StoreStep::NodesWindowCloses => self.windows = Windows::Closing { left: BARRIER },
            StoreStep::BarrierWindowCloses | StoreStep::BothWindowsClose => {
                self.windows = Windows::Closed;
            }
        }
    }

    fn next_epoch(&mut self, model: &Strictness) -> u8 {
        if model.has(Rule::LockedClock) {
            return self.newest().0 + 1;
        }
        self.sequence += 1;
        self.sequence
    }

    fn commit(&mut self, epoch: u8, revokes: bool) {
        self.changes.push(Change { epoch, nonce: u8::from(self.failed_over), revokes });
    }

    /// Time passes on the clocks of those who wait.
    pub fn grow_older(&mut self) {
        match &mut self.delete {
            Delete::Committed { passed } => *passed = (*passed + 1).min(BARRIER),
            Delete::Waiting { left } => *left = (*left - 1).max(0),
            _ => {}
        }
        if let Windows::Closing { left } = &mut self.windows {
            *left = (*left - 1).max(0);
        }
    }
}
