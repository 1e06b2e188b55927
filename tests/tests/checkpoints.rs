//! Searches the model of the ledger with checkpoints completely (docs/LEDGER.md). With all clauses every property
//! holds; without any one of them, a shortest run shows the violation. The bounds are stated here; larger ones only
//! take longer.

use interlock_tests::model::checkpoints::{Budget, Checkpoints, Clause, Record};
use interlock_tests::model::{breaks, holds};

const fn request(document: u8, id: u8) -> Record {
    Record::Request {
        document,
        id,
        holds: false,
    }
}

const fn hold(document: u8, id: u8) -> Record {
    Record::Request {
        document,
        id,
        holds: true,
    }
}

/// Two requests for the first document.
const TWO: Checkpoints = of(&[request(0, 0), request(0, 1)]);
/// Requests for both documents.
const THREE: Checkpoints = of(&[request(0, 0), request(1, 1), request(0, 2)]);
/// Three requests for the first document.
const SAME: Checkpoints = of(&[request(0, 0), request(0, 1), request(0, 2)]);
/// The third request repeats the first one.
const REPEATED: Checkpoints = of(&[request(0, 0), request(0, 1), request(0, 0)]);
/// Requests for both documents, one of which is repeated.
const FOUR: Checkpoints = of(&[request(0, 0), request(1, 1), request(0, 2), request(0, 0)]);
/// A timer of the first document, and a request for the second one.
const TIMER: Checkpoints = of(&[hold(0, 0), request(1, 1)]);
/// A timer alone.
const ONE_TIMER: Checkpoints = of(&[hold(0, 0)]);
/// A request before the closing, and one after it.
const CLOSING: Checkpoints = of(&[request(0, 0), Record::CloseDay, request(0, 1)]);
/// As `CLOSING`, with the second document, whose day isn't closed.
const CLOSING_ONE_OF_TWO: Checkpoints = of(&[request(0, 0), Record::CloseDay, request(1, 2), request(0, 1)]);
/// The day is to be closed while a timer is due.
const CLOSING_WHILE_DUE: Checkpoints = of(&[hold(0, 0), Record::CloseDay]);

const fn of(records: &'static [Record]) -> Checkpoints {
    Checkpoints {
        without: &[],
        records,
        present: records.len(),
        day: 0b01,
        keeps_closed: false,
        batch_max: 1,
        has_idle_checkpoints: false,
        budget: NOTHING,
    }
}

const fn with(budget: Budget, model: Checkpoints) -> Checkpoints {
    Checkpoints { budget, ..model }
}

/// Lets a write have checkpoints only.
const fn idle(model: Checkpoints) -> Checkpoints {
    Checkpoints {
        has_idle_checkpoints: true,
        ..model
    }
}

/// Lets a batch have two records.
const fn pairs(model: Checkpoints) -> Checkpoints {
    Checkpoints { batch_max: 2, ..model }
}

/// Lets all records but the first come at any time, also after a timer.
const fn late(model: Checkpoints) -> Checkpoints {
    Checkpoints { present: 1, ..model }
}

/// Leaves the documents of a closed day where they are.
const fn left(model: Checkpoints) -> Checkpoints {
    Checkpoints {
        keeps_closed: true,
        ..model
    }
}

/// The faults that may happen together in one search.
const NOTHING: Budget = Budget {
    crashes: 0,
    revocations: 0,
    expulsions: 0,
    replications: 0,
    fail_overs: 0,
    lost_replies: 0,
    aborts: 0,
    losses: 0,
    restorations: 0,
    early: 0,
    evictions: 0,
};
const CRASH: Budget = Budget { crashes: 1, ..NOTHING };
const ABORT: Budget = Budget { aborts: 1, ..NOTHING };
const EXPULSION: Budget = Budget {
    expulsions: 1,
    ..NOTHING
};
const MOVES: Budget = Budget {
    revocations: 1,
    expulsions: 1,
    ..NOTHING
};
const CRASH_AND_LOST_REPLY: Budget = Budget {
    lost_replies: 1,
    ..CRASH
};
const LOSS: Budget = Budget { losses: 1, ..NOTHING };
const OLDER: Budget = Budget {
    restorations: 1,
    ..NOTHING
};
const EVICTIONS: Budget = Budget {
    evictions: 2,
    ..NOTHING
};
const EARLY: Budget = Budget { early: 1, ..NOTHING };
const EARLY_AND_CRASH: Budget = Budget { early: 1, ..CRASH };
const CRASH_AND_LOSS: Budget = Budget { crashes: 1, ..LOSS };
const ABORT_AND_LOSS: Budget = Budget { aborts: 1, ..LOSS };
const EXPULSION_AND_LOSS: Budget = Budget { expulsions: 1, ..LOSS };
const LOSS_AND_LOST_REPLY: Budget = Budget {
    lost_replies: 1,
    ..LOSS
};
const LOSSES: Budget = Budget { losses: 2, ..NOTHING };
const LOSS_AND_OLDER: Budget = Budget { losses: 1, ..OLDER };
const LOSS_OLDER_AND_EVICTION: Budget = Budget {
    evictions: 1,
    ..LOSS_AND_OLDER
};
const OLDER_TWICE: Budget = Budget {
    restorations: 2,
    ..NOTHING
};
const OLDER_AND_EVICTION: Budget = Budget { evictions: 1, ..OLDER };
const CRASH_AND_OLDER: Budget = Budget { crashes: 1, ..OLDER };
const FAIL_OVER: Budget = Budget {
    replications: 1,
    fail_overs: 1,
    ..NOTHING
};
const CRASH_AND_FAIL_OVER: Budget = Budget {
    crashes: 1,
    ..FAIL_OVER
};
const EXPULSION_AND_FAIL_OVER: Budget = Budget {
    expulsions: 1,
    ..FAIL_OVER
};
const LOSS_AND_FAIL_OVER: Budget = Budget { losses: 1, ..FAIL_OVER };
const REVOCATION_AND_FLUSH: Budget = Budget {
    revocations: 1,
    fail_overs: 1,
    ..NOTHING
};
const EXPULSION_AND_FLUSH: Budget = Budget {
    expulsions: 1,
    fail_overs: 1,
    ..NOTHING
};

fn all_hold(searches: &[(&str, Checkpoints)]) {
    for (name, model) in searches {
        holds(name, model);
    }
}

#[test]
fn checkpoints_hold_when_workers_fail() {
    all_hold(&[
        ("pairs, moves", with(MOVES, pairs(TWO))),
        ("three, expulsion", with(EXPULSION, THREE)),
        (
            "three, idle, crash and lost reply",
            with(CRASH_AND_LOST_REPLY, idle(THREE)),
        ),
        (
            "repeated, idle, pairs, crash and lost reply",
            with(CRASH_AND_LOST_REPLY, idle(pairs(REPEATED))),
        ),
        ("three, pairs, evictions", with(EVICTIONS, pairs(THREE))),
    ]);
}

#[test]
fn checkpoints_hold_when_parts_are_lost() {
    all_hold(&[
        ("three, idle, loss", with(LOSS, idle(THREE))),
        ("three, idle, older", with(OLDER, idle(THREE))),
        ("three, pairs, crash and loss", with(CRASH_AND_LOSS, pairs(THREE))),
        ("two, pairs, expulsion and loss", with(EXPULSION_AND_LOSS, pairs(TWO))),
        ("repeated, losses", with(LOSSES, REPEATED)),
        ("repeated, loss and lost reply", with(LOSS_AND_LOST_REPLY, REPEATED)),
        ("repeated, crash and older", with(CRASH_AND_OLDER, REPEATED)),
        (
            "four, idle, pairs, crash and loss",
            with(CRASH_AND_LOSS, idle(pairs(FOUR))),
        ),
        ("four, older twice", with(OLDER_TWICE, FOUR)),
        ("three, loss and older", with(LOSS_AND_OLDER, THREE)),
        ("two, loss, older and eviction", with(LOSS_OLDER_AND_EVICTION, TWO)),
    ]);
}

#[test]
fn checkpoints_hold_when_the_store_fails_over() {
    all_hold(&[
        ("four, fail-over", with(FAIL_OVER, FOUR)),
        ("three, crash and fail-over", with(CRASH_AND_FAIL_OVER, THREE)),
        ("repeated, idle, fail-over", with(FAIL_OVER, idle(REPEATED))),
        ("repeated, crash and fail-over", with(CRASH_AND_FAIL_OVER, REPEATED)),
        ("two, loss and fail-over", with(LOSS_AND_FAIL_OVER, TWO)),
        ("two, revocation and flush", with(REVOCATION_AND_FLUSH, TWO)),
        ("two, expulsion and flush", with(EXPULSION_AND_FLUSH, TWO)),
    ]);
}

#[test]
fn a_day_is_closed_once_and_for_all() {
    all_hold(&[
        (
            "closing, pairs, crash and loss",
            with(CRASH_AND_LOSS, pairs(CLOSING_ONE_OF_TWO)),
        ),
        ("closing, older", with(OLDER, idle(CLOSING_ONE_OF_TWO))),
        (
            "closing, keys left, crash and loss",
            with(CRASH_AND_LOSS, left(CLOSING)),
        ),
        (
            "closing, keys left, loss and older",
            with(LOSS_AND_OLDER, left(CLOSING)),
        ),
        ("closing, expulsion", with(EXPULSION, CLOSING_ONE_OF_TWO)),
        ("closing, crash and fail-over", with(CRASH_AND_FAIL_OVER, CLOSING)),
        ("closing while due, late, crash", with(CRASH, late(CLOSING_WHILE_DUE))),
        (
            "closing while due, late, pairs, loss",
            with(LOSS, late(pairs(CLOSING_WHILE_DUE))),
        ),
    ]);
}

#[test]
fn a_timer_comes_in_any_case() {
    all_hold(&[
        ("timer, late, crash", with(CRASH, late(TIMER))),
        ("timer, late, pairs, abort", with(ABORT, late(pairs(TIMER)))),
        ("timer, early and crash", with(EARLY_AND_CRASH, idle(TIMER))),
        ("timer, loss", with(LOSS, TIMER)),
        ("timer, older", with(OLDER, TIMER)),
        ("one timer, crash and fail-over", with(CRASH_AND_FAIL_OVER, ONE_TIMER)),
        ("one timer, moves", with(EXPULSION, ONE_TIMER)),
    ]);
}

/// Larger searches, with the same result.
#[test]
#[ignore = "takes ten minutes"]
fn checkpoints_hold_in_larger_searches() {
    all_hold(&[
        ("three, loss and fail-over", with(LOSS_AND_FAIL_OVER, THREE)),
        (
            "three, pairs, expulsion and loss",
            with(EXPULSION_AND_LOSS, pairs(THREE)),
        ),
        ("two, expulsion and fail-over", with(EXPULSION_AND_FAIL_OVER, TWO)),
        (
            "closing, crash and fail-over",
            with(CRASH_AND_FAIL_OVER, CLOSING_ONE_OF_TWO),
        ),
        ("closing, loss and fail-over", with(LOSS_AND_FAIL_OVER, CLOSING)),
        (
            "closing, keys left, loss and older",
            with(LOSS_AND_OLDER, left(CLOSING_ONE_OF_TWO)),
        ),
        ("timer, loss and older", with(LOSS_AND_OLDER, TIMER)),
        ("timer, crash and fail-over", with(CRASH_AND_FAIL_OVER, TIMER)),
        (
            "closing while due, crash and fail-over",
            with(CRASH_AND_FAIL_OVER, CLOSING_WHILE_DUE),
        ),
    ]);
}

const ANSWER: &str = "not answered, or not as the state";
const STATE: &str = "decided on another state";
const NO_LOSS: &str = "rebuilt though nothing was lost";
const NO_WAY: &str = "no way leads";
const AGAIN: &str = "again and again";
const STOPS: &str = "the log lacks answers";

/// The violation without each clause, and the search that finds it.
const BREAKS: &[(&[Clause], Checkpoints, &str)] = &[
    (&[Clause::StateToken], with(ABORT_AND_LOSS, REPEATED), ANSWER),
    (&[Clause::StateVersion], with(OLDER, idle(REPEATED)), ANSWER),
    (&[Clause::OneTransaction], with(CRASH, TWO), NO_LOSS),
    (&[Clause::WholeLog], with(LOSS, TWO), ANSWER),
    (&[Clause::ChainByDigest], with(LOSS_AND_OLDER, TWO), STATE),
    (&[Clause::TrimAcknowledged], with(ABORT, TWO), NO_LOSS),
    (
        &[Clause::TrimAcknowledged, Clause::FloorBelowCommitted],
        with(ABORT, TWO),
        ANSWER,
    ),
    (&[Clause::TrimCheckpointed], with(CRASH, THREE), STATE),
    (&[Clause::DirtyThoughNotLoaded], with(CRASH, THREE), STATE),
    (&[Clause::ExactFloor], with(CRASH, THREE), NO_LOSS),
    (&[Clause::UnnamedIsNotRead], with(LOSS, TWO), ANSWER),
    (&[Clause::UnlinkFirst], with(LOSS, TWO), NO_LOSS),
    (&[Clause::IndexInMeta], with(LOSS, THREE), STATE),
    (&[Clause::FoldTail], with(ABORT, TWO), STATE),
    (&[Clause::NoticeAbsent], with(CRASH_AND_LOSS, idle(TWO)), STATE),
    (&[Clause::NoticeOlder], with(OLDER_AND_EVICTION, idle(SAME)), STATE),
    (&[Clause::NoticeNewer], with(OLDER_TWICE, TWO), ANSWER),
    (&[Clause::CompareDigest], with(LOSS_OLDER_AND_EVICTION, TWO), STATE),
    (&[Clause::CompareSegments], with(ABORT_AND_LOSS, REPEATED), ANSWER),
    (&[Clause::ClosingEndsTail], with(ABORT, CLOSING), NO_WAY),
    (&[Clause::KeepUnderWay], with(EVICTIONS, TWO), STATE),
    (&[Clause::MarkLost], with(LOSS, TWO), AGAIN),
    (&[Clause::RebuildInsteadOfStop], with(LOSS, TWO), STOPS),
    (&[Clause::CheckpointTails], with(FAIL_OVER, THREE), STATE),
    (&[Clause::CountRebuildWrites], with(LOSS_AND_OLDER, TWO), STATE),
    (&[Clause::LookWhileIdle], with(LOSS, TWO), NO_WAY),
    (&[Clause::NothingDue], CLOSING_WHILE_DUE, ANSWER),
    (&[Clause::StoreClosed], with(ABORT, CLOSING), ANSWER),
    (&[Clause::DropIndexFields], CLOSING, NO_LOSS),
    (&[Clause::RefuseClosed], CLOSING, ANSWER),
    (&[Clause::FoldClosing], with(LOSS, CLOSING), ANSWER),
    (&[Clause::OverlayByLog], with(CRASH, ONE_TIMER), NO_WAY),
    (&[Clause::ForgetSent], with(ABORT, ONE_TIMER), NO_WAY),
    (&[Clause::ForgetSentWhenDecided], with(EARLY, ONE_TIMER), NO_WAY),
    (&[Clause::DueByDecision], with(ABORT, ONE_TIMER), ANSWER),
    (&[Clause::TimeOfRecord], with(EARLY, ONE_TIMER), ANSWER),
    (&[Clause::EntryWithoutOutput], with(EARLY_AND_CRASH, ONE_TIMER), NO_LOSS),
];

#[test]
fn each_clause_of_the_ledger_with_checkpoints_is_needed() {
    for (without, model, expected) in BREAKS {
        breaks(
            &format!("without {without:?}"),
            &Checkpoints { without, ..*model },
            expected,
        );
    }
}

/// Two clauses are second lines of defence. An entry is trimmed only when its commit is acknowledged, so `floor` can't
/// be beyond C. A worker that marks a ledger starts over under another token, so no batch meets the mark.
#[test]
fn two_clauses_are_second_lines_of_defence() {
    for (without, name) in [
        (&[Clause::FloorBelowCommitted] as &[Clause], "floor not compared"),
        (&[Clause::RefuseMarked], "mark not looked at"),
    ] {
        for model in [
            with(CRASH_AND_LOSS, THREE),
            with(LOSS_AND_LOST_REPLY, REPEATED),
            with(EXPULSION_AND_LOSS, TWO),
            with(FAIL_OVER, THREE),
        ] {
            holds(name, &Checkpoints { without, ..model });
        }
    }
}
