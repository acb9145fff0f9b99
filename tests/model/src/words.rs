//! A trace in plain sentences.

use stateright::Path;

use crate::node::{History, Node, NodeStep, Poll, Verification};
use crate::store::{Delete, Store, StoreStep, Windows};
use crate::{Step, World};

/// Tells what happens on a path, a sentence for each step.
pub fn tell(path: &Path<World, Step>) -> Vec<String> {
    let moments = path.clone().into_vec();
    let mut sentences: Vec<String> =
        moments.first().map(|(world, _)| beginning(&world.store)).into_iter().collect();
    for moment in moments.windows(2) {
        if let [(before, Some(step)), (after, _)] = moment {
            sentences.push(sentence(before, *step, after));
        }
    }
    sentences
}

fn beginning(store: &Store) -> String {
    let windows = if store.windows == Windows::Open { "open" } else { "closed" };
    format!("The key is active, the window {windows}.")
}

fn sentence(before: &World, step: Step, after: &World) -> String {
    let name = |n: usize| match before.nodes.len() {
        1 => "the node".to_owned(),
        _ => format!("node {}", n + 1),
    };
    match step {
        Step::Tick { missed_by: None } => "A tick passes.".to_owned(),
        Step::Tick { missed_by: Some(n) } => {
            format!("A tick passes, which the clock of {} misses.", name(n))
        }
        Step::Store(step) => of_the_store(&before.store, step, &after.store),
        Step::Node(n, step) => of_a_node(&name(n), &before.nodes[n], step, &after.nodes[n]),
    }
}

fn of_the_store(before: &Store, step: StoreStep, after: &Store) -> String {
    let newest = |store: &Store| store.changes.last().map_or(0, |change| change.epoch);
    match step {
        StoreStep::OtherBegins => "A change of another record takes its epoch.".to_owned(),
        StoreStep::OtherCommits => {
            format!("The change of the other record commits with epoch {}.", newest(after))
        }
        StoreStep::DeleteBegins => "The revocation takes its epoch.".to_owned(),
        StoreStep::DeleteCommits => {
            format!("The revocation commits with epoch {}.", newest(after))
        }
        StoreStep::DeleteFindsTheBarrier => match after.delete {
            Delete::Waiting { left: 0 } => "The revocation has nothing to wait for.".to_owned(),
            _ => "The revocation finds how long it must wait.".to_owned(),
        },
        StoreStep::DeleteIsAnswered => "The revocation is answered.".to_owned(),
        StoreStep::RevokerDies => "The node that revokes dies in the wait.".to_owned(),
        StoreStep::DeleteIsRepeated => "The revocation is asked for again.".to_owned(),
        StoreStep::FailsOver => {
            format!("The store fails over, and epoch {} is lost.", newest(before))
        }
        StoreStep::WindowOpens => "The window is opened.".to_owned(),
        StoreStep::NodesWindowCloses => "The window is closed for the nodes.".to_owned(),
        StoreStep::BarrierWindowCloses => "The window is closed for revocations too.".to_owned(),
        StoreStep::BothWindowsClose => {
            "The window is closed for nodes and revocations at once.".to_owned()
        }
    }
}

fn of_a_node(name: &str, before: &Node, step: NodeStep, after: &Node) -> String {
    let sentence = match step {
        NodeStep::PollIsSent => format!("{name} sends a poll."),
        NodeStep::PollSeesTheStore => format!("the poll of {name} sees the store{}.", news(after)),
        NodeStep::PollMeetsAStandby => format!("a standby answers the poll of {name}."),
        NodeStep::PollIsLost => format!("the poll of {name} is lost."),
        NodeStep::PollEvicts => eviction(name, before, after),
        NodeStep::PollProves if before.proof == after.proof => {
            format!("{name} publishes the poll, which proves nothing new.")
        }
        NodeStep::PollProves => format!("{name} publishes the poll as its proof."),
        NodeStep::FillIsSent => format!("an earlier verification makes {name} read the store."),
        NodeStep::FillSeesTheStore => format!("the read of {name} sees the store."),
        NodeStep::FillComesBack => keeping(name, after),
        NodeStep::Arrives => format!("a verification arrives at {name}."),
        NodeStep::ReadsTooEarly => format!("without a proof, {name} looks at what it remembers."),
        NodeStep::IsProved => format!("{name} has its proof."),
        NodeStep::GivesUp => format!("{name} has no proof in time, and answers 503."),
        NodeStep::ReadsTheCell => format!("{name} reads what it remembers."),
        NodeStep::AsksTheStore => format!("{name} remembers nothing, and reads the store."),
        NodeStep::JoinsTheFill => format!("{name} waits for the read that is under way."),
        NodeStep::MachineIsSuspended => format!("the machine of {name} is suspended."),
        NodeStep::MachineResumes => format!("the machine of {name} resumes."),
    };
    let verdict = match (before.verification, after.verification) {
        (Verification::Answered(_), _) => "",
        (_, Verification::Answered(true)) => " The key is accepted.",
        (_, Verification::Answered(false)) => " The key is refused.",
        _ => "",
    };
    capitalised(&sentence) + verdict
}

/// What a poll brings back.
fn news(after: &Node) -> String {
    let Poll::Seen { news } = after.poll else { return String::new() };
    let newest = news.newest.0;
    match (news.history, news.names_key) {
        (History::First, _) => format!(", whose newest epoch is {newest}"),
        (History::Continues, false) => ", and hears nothing of the key".to_owned(),
        (History::Continues, true) => ", and hears that the key changed".to_owned(),
        (History::Foreign, _) => ", and finds a history that it does not know".to_owned(),
    }
}

/// What applying a poll does to what is remembered.
fn eviction(name: &str, before: &Node, after: &Node) -> String {
    match (before.cell.is_some(), after.cell.is_some(), before.fill == after.fill) {
        (true, false, _) => format!("{name} applies the poll, and forgets the key."),
        (_, _, false) => format!("{name} applies the poll, and voids the read that is under way."),
        (true, true, true) => format!("{name} applies the poll, and still remembers the key."),
        (false, ..) => format!("{name} applies the poll, and has nothing to forget."),
    }
}

/// What becomes of a read that comes back.
fn keeping(name: &str, after: &Node) -> String {
    match after.cell {
        Some(true) => format!("the read comes back to {name}, which remembers the key as active."),
        Some(false) => {
            format!("the read comes back to {name}, which remembers the key as revoked.")
        }
        None => format!("the read comes back to {name}, which does not keep it."),
    }
}

fn capitalised(sentence: &str) -> String {
    let (first, rest) = sentence.split_at(1);
    first.to_uppercase() + rest
}
