//! A model of strict revocation, small enough to be searched through.
//!
//! It has one store, one key, a caller who revokes that key, somebody else who changes another
//! record, an operator who changes the window, and nodes that verify. Everything that takes time in
//! the world is two steps here, with anything that can happen in between: a poll is sent, sees one
//! snapshot of the store, evicts, and only then proves; a fill is sent, sees the store, and comes
//! back; a verification arrives, is proved, and reads the cell; a change takes its epoch, commits,
//! waits and is answered. Polls are lost, come late or meet a standby, clocks run apart, machines
//! are suspended, a caller's node dies in the wait and is asked again, and the store fails over and
//! loses its newest change.
//!
//! **One node suffices.** A node takes part in nothing but its own memory and the store; no node
//! reads what another wrote except there. The promise is broken by one verification on one node.
//! Whatever the other nodes did before it, that node saw as changes of the store, and those are in
//! the model. (Three nodes are searched by simulation all the same.)
//!
//! **One key suffices**, because records meet in three places only: the change clock, for which the
//! change of another record stands; the drop of a whole cache; and the tickets of a shard, which a
//! neighbour's eviction can only void.
//!
//! **One fill at a time suffices**, because fills meet in the cell alone, and what a verification
//! finds there was brought by one of them.
//!
//! **Late is searched for nothing.** Any step may come as late as it likes. So what could only come
//! later than something else does (an acknowledgement behind its commit, a wait by a slow clock) is no
//! step of its own.
//!
//! Each of the design's rules can be taken away. The search must then find a broken promise, or the
//! model would not be testing that rule.
//!
//! Assumed, as the deployment must: one primary takes writes at a time, and what a failover loses is
//! neither the revocation nor a window that was opened.

mod node;
mod store;
mod walk;
mod words;

use stateright::{Model, Property};

pub use node::NodeStep;
use node::{Node, Verification};
pub use store::StoreStep;
use store::{Delete, Store};
pub use walk::Hurried;
pub use words::tell;

/// A rule of the design, to be taken away. The numbers are the design's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// V1: epochs come from the locked clock row, so that commit order is epoch order.
    LockedClock,
    /// V2: evict first, and only then publish that the node is fresh.
    EvictBeforeProof,
    /// V3: first the proof, then the read of the cell.
    ProofBeforeRead,
    /// V4: a fill whose ticket is void is not remembered.
    Tickets,
    /// V4: a ticket is voided by evictions. The epoch that the fill saw would not do in its place: a
    /// failover gives it out anew.
    TicketsNotEpochs,
    /// V5: a narrowing change waits before it is answered.
    Barrier,
    /// V5: for longer than the window, because clocks run apart.
    BarrierAllowsForDrift,
    /// V5: so does the change that is asked for again.
    RepeatedBarrier,
    /// V5: a window that shrinks does so on the nodes first, and for the barrier when none of them
    /// can rely on the old one.
    NodesShrinkFirst,
    /// V7: the clock counts the time for which the machine was suspended.
    SuspensionCounts,
    /// V8: the first poll empties the cache, and voids the fills that are under way.
    FirstPollEmpties,
    /// V8: a history that is not the one that was applied empties the cache.
    ForeignHistoryEmpties,
    /// V8: and it voids the fills that are under way.
    ForeignHistoryVoids,
    /// V9: a standby proves nothing.
    PrimaryProves,
    /// V11: a verification is answered from no fill but its own.
    OwnFill,
}

/// Ticks for which a node may rely on a poll, where the window is open.
const WINDOW: i8 = 1;
/// Ticks for which a verification waits for its proof before it is answered with 503.
const PATIENCE: i8 = 1;
/// Ticks that pass while a narrowing change waits: the window, one by which the clock of a node that
/// verifies may run behind meanwhile, and the margin. What the clock that waits may run ahead is taken
/// off already: a wait that ends early is the one to be searched.
const BARRIER: i8 = WINDOW + 1 + 1;

/// What is searched.
#[derive(Debug, Clone, Copy)]
pub struct Strictness {
    /// How many nodes verify.
    pub nodes: usize,
    /// The rule that is taken away, if one is.
    pub without: Option<Rule>,
}

impl Strictness {
    fn has(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// Whether machines are suspended. What is found without some other rule is found without that.
    fn suspends(&self) -> bool {
        matches!(self.without, None | Some(Rule::SuspensionCounts))
    }

    /// Whether the window is changed. The same goes for that.
    fn changes_windows(&self) -> bool {
        matches!(self.without, None | Some(Rule::NodesShrinkFirst))
    }
}

/// The promise.
pub const FINAL: &str =
    "I1: once a revocation was answered, no verification that starts later accepts the key";

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    store: Store,
    nodes: Vec<Node>,
}

impl World {
    /// Whether some verification was answered, with the key accepted or with the key refused.
    pub fn has_answered(&self, accepted: bool) -> bool {
        self.nodes.iter().any(|node| node.verification == Verification::Answered(accepted))
    }

    fn has_given_up(&self) -> bool {
        self.nodes.iter().any(|node| node.verification == Verification::Undecided)
    }
}

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Time passes. One node's clock may miss it.
    Tick {
        /// The node whose clock misses it.
        missed_by: Option<usize>,
    },
    /// Something in the store or with those who change it.
    Store(StoreStep),
    /// Something on a node.
    Node(usize, NodeStep),
}

impl Model for Strictness {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let world = |store| World { store, nodes: vec![Node::default(); self.nodes] };
        Store::beginnings().map(world).to_vec()
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        // The answer to the verification is what is looked for. Behind it there is nothing new.
        if world.nodes.iter().all(Node::is_done) {
            return;
        }
        steps.push(Step::Tick { missed_by: None });
        let may_miss = (0..self.nodes).filter(|&n| !world.nodes[n].missed);
        steps.extend(may_miss.map(|n| Step::Tick { missed_by: Some(n) }));
        steps.extend(world.store.steps(self).into_iter().map(Step::Store));
        for (n, node) in world.nodes.iter().enumerate() {
            let possible = node.steps(self, &world.store);
            steps.extend(possible.into_iter().map(|step| Step::Node(n, step)));
        }
    }

    fn next_state(&self, before: &World, step: Step) -> Option<World> {
        let mut world = before.clone();
        match step {
            Step::Tick { missed_by } => {
                world.store.grow_older();
                for (n, node) in world.nodes.iter_mut().enumerate() {
                    if missed_by == Some(n) {
                        node.missed = true;
                    } else if !node.suspended || self.has(Rule::SuspensionCounts) {
                        node.grow_older();
                    }
                }
            }
            Step::Store(step) => world.store.take(step, self),
            Step::Node(n, step) => world.nodes[n].take(step, self, &world.store),
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(FINAL, |_, world: &World| !world.has_answered(true)),
            Property::always(
                "I2: a fresh node remembers nothing that it knows to be revoked",
                |_, world: &World| !world.nodes.iter().any(|node| node.contradicts(&world.store)),
            ),
            Property::always("I3: commit order is epoch order", |_, world: &World| {
                world.store.changes.is_sorted_by(|a, b| a.epoch < b.epoch)
            }),
            Property::always("I5: a key that nobody revokes is not refused", |_, world: &World| {
                world.store.delete != Delete::Idle || !world.nodes.iter().any(Node::refuses)
            }),
            Property::sometimes(
                "a revocation is answered, and the key refused",
                |_, world: &World| world.has_answered(false),
            ),
            Property::sometimes(
                "a revocation is answered, and nothing is known",
                |_, world: &World| world.has_given_up(),
            ),
        ]
    }
}
