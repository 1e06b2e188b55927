//! Searches the models of the protocols completely. With all clauses every property holds; without any one of them, a
//! shortest run shows the violation. The bounds are stated here; larger ones only take longer.

use interlock_tests::model::forwarding::{self, Forwarding};
use interlock_tests::model::protocol::{Beginning, Budget, Clause, Protocol};
use interlock_tests::model::sink::{self, Sink};
use interlock_tests::model::{breaks, holds};

/// The faults that may happen together in one search.
const NOTHING: Budget = Budget {
    crashes: 0,
    revocations: 0,
    expulsions: 0,
    replications: 0,
    fail_overs: 0,
    lost_replies: 0,
    aborts: 0,
};
/// The group moves the partition, with and without asking.
const MOVES: Protocol = Protocol {
    budget: Budget {
        revocations: 1,
        expulsions: 1,
        ..NOTHING
    },
    ..SMALL
};
/// A worker dies; the store's or the log's answer is lost, the log refuses a commit.
const CRASH: Protocol = Protocol {
    budget: Budget {
        crashes: 1,
        lost_replies: 1,
        aborts: 1,
        ..NOTHING
    },
    ..SMALL
};
/// A worker dies, and the store fails over to a replica that lacks any suffix.
const CRASH_AND_FAIL_OVER: Protocol = Protocol {
    budget: Budget {
        crashes: 1,
        replications: 1,
        fail_overs: 1,
        ..NOTHING
    },
    ..SMALL
};
/// The log refuses a commit, and the store fails over.
const ABORT_AND_FAIL_OVER: Protocol = Protocol {
    budget: Budget {
        aborts: 1,
        replications: 1,
        fail_overs: 1,
        ..NOTHING
    },
    ..SMALL
};
/// The store fails over while the group moves the partition.
const REVOCATION_AND_FAIL_OVER: Protocol = Protocol {
    budget: Budget {
        revocations: 1,
        replications: 1,
        fail_overs: 1,
        ..NOTHING
    },
    ..SMALL
};
/// The group gives a living worker's partition away, and the store loses everything.
const EXPULSION_AND_FLUSH: Protocol = Protocol {
    records: 2,
    aside: None,
    budget: Budget {
        expulsions: 1,
        fail_overs: 1,
        ..NOTHING
    },
    ..SMALL
};
/// As `EXPULSION_AND_FLUSH`, when a record is committed already.
const EXPULSION_AND_FLUSH_LATER: Protocol = Protocol {
    records: 3,
    aside: Some(1),
    beginning: Beginning::Running,
    ..EXPULSION_AND_FLUSH
};
/// The group moves the partition, and the store loses everything, after a worker gave the partition up and got it back.
const AFTER_A_RELEASE: Protocol = Protocol {
    beginning: Beginning::Released,
    budget: Budget {
        revocations: 1,
        fail_overs: 1,
        ..NOTHING
    },
    ..SMALL
};
/// Two workers are connected to two masters; each worker is once considered dead.
const TWO_MASTERS: Protocol = Protocol {
    beginning: Beginning::FailedOver,
    batch_max: 1,
    aside: None,
    budget: Budget {
        expulsions: 2,
        ..NOTHING
    },
    ..SMALL
};
/// Three records, the second of which leaves no event, in batches of one or two.
const SMALL: Protocol = Protocol {
    without: None,
    records: 3,
    aside: Some(1),
    batch_max: 2,
    budget: NOTHING,
    beginning: Beginning::Empty,
};

#[test]
fn the_ledger_protocol_holds() {
    for (name, protocol) in [
        ("moves", MOVES),
        ("crash", CRASH),
        ("crash and fail-over", CRASH_AND_FAIL_OVER),
        ("abort and fail-over", ABORT_AND_FAIL_OVER),
        ("revocation and fail-over", REVOCATION_AND_FAIL_OVER),
        ("expulsion and flush", EXPULSION_AND_FLUSH),
        ("expulsion and flush later", EXPULSION_AND_FLUSH_LATER),
        ("after a release", AFTER_A_RELEASE),
        ("two masters", TWO_MASTERS),
    ] {
        holds(name, &protocol);
    }
}

const TWICE: &str = "answered twice";
const INCOMPLETE: &str = "stands still";
const LACKS: &str = "lacks answers";

/// The violation without each clause, and the search that finds it.
const BREAKS: &[(Clause, Protocol, &str)] = &[
    (Clause::TrimBelowAcknowledged, MOVES, LACKS),
    (Clause::SettleBeforeRevocation, AFTER_A_RELEASE, TWICE),
    (Clause::AbortBeforeAcquiring, MOVES, TWICE),
    (
        Clause::RebuildToHighWatermark,
        REVOCATION_AND_FAIL_OVER,
        "an event is missing",
    ),
    (Clause::AppliedBelowCommitted, EXPULSION_AND_FLUSH_LATER, TWICE),
    (Clause::FoldBelowCommitted, TWO_MASTERS, TWICE),
    (Clause::CompareLineage, EXPULSION_AND_FLUSH, TWICE),
    (Clause::AgreeByLastToken, EXPULSION_AND_FLUSH, INCOMPLETE),
    (Clause::FreshToken, ABORT_AND_FAIL_OVER, LACKS),
    (Clause::SignOffset, MOVES, "Kafka no committed one"),
    (Clause::FenceOwners, CRASH_AND_FAIL_OVER, INCOMPLETE),
    (Clause::FenceNamed, CRASH_AND_FAIL_OVER, INCOMPLETE),
    (Clause::Resend, MOVES, TWICE),
    (Clause::StableOffsets, MOVES, TWICE),
    (Clause::IdleCheck, EXPULSION_AND_FLUSH, INCOMPLETE),
    (Clause::StateToken, EXPULSION_AND_FLUSH, TWICE),
    (Clause::StateApplied, CRASH_AND_FAIL_OVER, LACKS),
    (Clause::JudgeAsHolder, EXPULSION_AND_FLUSH, LACKS),
];

#[test]
fn each_clause_of_the_ledger_protocol_is_needed() {
    for (clause, protocol, expected) in BREAKS {
        let without = Some(*clause);
        breaks(
            &format!("without {clause:?}"),
            &Protocol { without, ..*protocol },
            expected,
        );
    }
}

/// The ledger's list of owners is a second line of defence. A worker signs the offset before it decides, so the
/// offset's metadata names it: an owner that is overwritten in the list is fenced all the same.
#[test]
fn an_owner_who_is_not_listed_is_fenced_all_the_same() {
    let without = Some(Clause::ForgetAfterFencing);
    for protocol in [MOVES, CRASH, CRASH_AND_FAIL_OVER, AFTER_A_RELEASE] {
        holds("owners overwritten", &Protocol { without, ..protocol });
    }
}

#[test]
fn records_in_the_wrong_partition_are_sent_on_once() {
    let model = Forwarding {
        without: None,
        interruptions: 3,
        losses: 2,
    };
    holds("forwarding", &model);
    for (omission, expected) in [
        (forwarding::Omission::KeepInOutbox, "lost"),
        (forwarding::Omission::OneTransaction, "twice"),
        (forwarding::Omission::AppliedBelowCommitted, "twice"),
        (forwarding::Omission::CountHops, "without end"),
    ] {
        let without = Some(omission);
        breaks(
            &format!("without {omission:?}"),
            &Forwarding { without, ..model },
            expected,
        );
    }
}

#[test]
fn windows_are_the_sums_below_their_positions() {
    holds("sink", &Sink { without: None });
    for omission in [sink::Omission::Compare, sink::Omission::OneTransaction] {
        let without = Some(omission);
        breaks(&format!("without {omission:?}"), &Sink { without }, "sum");
    }
}
