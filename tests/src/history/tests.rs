use super::*;

const HERE: usize = 0;
const THERE: usize = 1;

fn span(begun: u64, ended: u64) -> Span {
    Span { begun: Duration::from_millis(begun), ended: Duration::from_millis(ended) }
}

/// A key that was created from 0 to 10 ms, and its history.
fn begin() -> (History, Key) {
    let mut history = History::default();
    let key = history.created(span(0, 10));
    (history, key)
}

fn verify(history: &mut History, key: Key, node: usize, span: Span, verdict: Verdict) {
    history.verified(Verification { key, node, span, verdict });
}

/// The rules that one verification breaks in a history that is made of these deletions.
fn broken(deletions: &[(Span, Outcome)], at: Span, verdict: Verdict) -> Vec<Rule> {
    let (mut history, key) = begin();
    for &(span, outcome) in deletions {
        history.deleted(key, span, outcome);
    }
    verify(&mut history, key, HERE, at, verdict);
    history.violations().iter().map(|violation| violation.rule).collect()
}

const ANSWERED: (u64, u64) = (100, 400);

fn answered() -> (Span, Outcome) {
    (span(ANSWERED.0, ANSWERED.1), Outcome::Answered)
}

#[test]
fn what_starts_after_an_answered_deletion_must_not_be_accepted() {
    let accepted = |at| broken(&[answered()], at, Verdict::Accepted);
    assert_eq!(accepted(span(401, 402)), [Rule::RevokedIsRefused]);
    assert_eq!(accepted(span(9_000, 9_001)), [Rule::RevokedIsRefused]);
    for at in [span(20, 21), span(150, 160), span(399, 500), span(99, 9_000)] {
        assert_eq!(accepted(at), [], "it may have been judged before the answer: {at:?}");
    }
}

#[test]
fn a_revoked_key_may_be_refused_or_not_be_judged() {
    for verdict in [Verdict::Refused, Verdict::Unavailable, Verdict::Lost] {
        assert_eq!(broken(&[answered()], span(401, 402), verdict), []);
    }
}

#[test]
fn a_key_must_not_be_refused_between_its_creation_and_its_first_deletion() {
    let refused = |at| broken(&[answered()], at, Verdict::Refused);
    assert_eq!(refused(span(11, 12)), [Rule::CreatedIsAccepted]);
    assert_eq!(refused(span(98, 99)), [Rule::CreatedIsAccepted]);
    for at in [span(5, 12), span(98, 101), span(100, 300), span(300, 500)] {
        assert_eq!(refused(at), [], "nodes may differ: {at:?}");
    }
    assert_eq!(broken(&[], span(9_000, 9_001), Verdict::Refused), [Rule::CreatedIsAccepted]);
}

#[test]
fn a_key_that_nobody_revoked_may_not_be_judged_and_not_otherwise() {
    for verdict in [Verdict::Accepted, Verdict::Unavailable, Verdict::Lost] {
        assert_eq!(broken(&[], span(11, 12), verdict), []);
    }
    assert_eq!(broken(&[], span(11, 12), Verdict::Other(500)), [Rule::OneOfThree]);
}

#[test]
fn a_deletion_without_an_answer_allows_both_from_its_start_on() {
    for outcome in [Outcome::Unavailable, Outcome::Lost] {
        let unsure = [(span(100, 110), outcome)];
        for verdict in [Verdict::Accepted, Verdict::Refused] {
            assert_eq!(broken(&unsure, span(200, 201), verdict), []);
        }
        let before = broken(&unsure, span(98, 99), Verdict::Refused);
        assert_eq!(before, [Rule::CreatedIsAccepted]);
    }
}

#[test]
fn what_may_revoke_a_key_otherwise_allows_both_from_its_start_on() {
    let (mut history, key) = begin();
    history.threatened(key, Duration::from_millis(100));
    for verdict in [Verdict::Accepted, Verdict::Refused] {
        verify(&mut history, key, HERE, span(101, 102), verdict);
    }
    assert!(history.violations().is_empty());
    verify(&mut history, key, HERE, span(98, 99), Verdict::Refused);
    assert_eq!(history.violations().len(), 1);
    assert_eq!(history.revocations(), 0);
}

#[test]
fn the_first_answer_counts_whichever_request_it_is_to_and_in_whatever_order_they_are_noted() {
    let lost = (span(100, 110), Outcome::Lost);
    let repeated = (span(200, 300), Outcome::Answered);
    let later = (span(150, 700), Outcome::Answered);
    for deletions in [[lost, repeated, later], [later, repeated, lost]] {
        let accepted = |at| broken(&deletions, at, Verdict::Accepted);
        assert_eq!(accepted(span(299, 305)), []);
        assert_eq!(accepted(span(301, 305)), [Rule::RevokedIsRefused]);
        assert_eq!(broken(&deletions, span(101, 102), Verdict::Refused), []);
    }
}

#[test]
fn keys_are_judged_one_by_one_and_every_violation_is_found() {
    let mut history = History::default();
    let keys: Vec<Key> = (0..3).map(|_| history.created(span(0, 10))).collect();
    history.deleted(keys[1], span(20, 30), Outcome::Answered);
    for &key in &keys {
        for node in [HERE, THERE] {
            verify(&mut history, key, node, span(40, 41), Verdict::Accepted);
        }
    }
    let found: Vec<(Key, usize)> = history
        .violations()
        .iter()
        .map(|violation| (violation.verification.key, violation.verification.node))
        .collect();
    assert_eq!(found, [(keys[1], HERE), (keys[1], THERE)]);
}

#[test]
fn a_violation_is_told_in_words() {
    let (mut history, key) = begin();
    history.deleted(key, span(100, 400), Outcome::Answered);
    verify(&mut history, key, THERE, span(401, 402), Verdict::Accepted);
    let told = history.violations()[0].to_string();
    for part in ["RevokedIsRefused", "node 1", "key 0", "from 401ms", "from 100ms", "at 400ms"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn a_revocation_is_witnessed_by_a_node_that_knew_the_key_and_is_asked_promptly() {
    let witnessed = |before: (usize, Verdict), after: (usize, u64, Verdict)| {
        let (mut history, key) = begin();
        verify(&mut history, key, before.0, span(20, 21), before.1);
        history.deleted(key, span(100, 400), Outcome::Answered);
        verify(&mut history, key, after.0, span(after.1, after.1 + 1), after.2);
        history.figures().witnessed
    };
    let known = (HERE, Verdict::Accepted);
    assert_eq!(witnessed(known, (HERE, 401, Verdict::Refused)), 1);
    assert_eq!(witnessed(known, (HERE, 401, Verdict::Accepted)), 1);
    assert_eq!(witnessed(known, (THERE, 401, Verdict::Refused)), 0, "another node");
    assert_eq!(witnessed(known, (HERE, 399, Verdict::Refused)), 0, "before the answer");
    assert_eq!(witnessed(known, (HERE, 501, Verdict::Refused)), 0, "long after the answer");
    assert_eq!(witnessed(known, (HERE, 401, Verdict::Unavailable)), 0, "no answer");
    let unknown = (HERE, Verdict::Unavailable);
    assert_eq!(witnessed(unknown, (HERE, 401, Verdict::Refused)), 0, "not in its memory");
}

#[test]
fn everything_is_counted() {
    let (mut history, key) = begin();
    for verdict in [Verdict::Accepted, Verdict::Accepted, Verdict::Unavailable, Verdict::Lost] {
        verify(&mut history, key, HERE, span(11, 12), verdict);
    }
    history.deleted(key, span(20, 30), Outcome::Unavailable);
    history.deleted(key, span(20, 40), Outcome::Lost);
    history.deleted(key, span(50, 350), Outcome::Answered);
    history.deleted(key, span(400, 500), Outcome::Answered);
    verify(&mut history, key, HERE, span(500, 501), Verdict::Refused);
    let figures = history.figures();
    assert_eq!((figures.accepted, figures.refused), (2, 1));
    assert_eq!((figures.unavailable, figures.lost), (1, 1));
    assert_eq!((figures.deletions_unavailable, figures.deletions_lost), (1, 1));
    assert_eq!(figures.revocations, 1);
    assert_eq!(figures.deletion_within(50), Duration::from_millis(100));
    assert_eq!(figures.deletion_within(99), Duration::from_millis(300));
    assert_eq!(History::default().figures().deletion_within(99), Duration::ZERO);
}
