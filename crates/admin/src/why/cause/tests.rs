//! From facts to causes.

use super::super::way::Request;
use super::*;
use crate::status::Long;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// A destination that lags behind the change 8, and is owed it.
fn lagging() -> Subject {
    Subject {
        kind: Kind::Destination,
        name: "main".to_owned(),
        state: "lagging",
        reason: None,
        waits_for: WaitsFor::nothing(),
        last_success_at: None,
        last_error: None,
        last_error_at: None,
        consecutive_failures: 0,
        next_attempt_at: None,
        request: Some(Request {
            wanted_sequence_id: Long(8),
            owed_since: at(-1),
            due_at: at(-1),
            attempt: Long(1),
            failures: 0,
            claimed_by: None,
            claimed_until: None,
        }),
        mappings: vec![SubjectMapping {
            name: "users".to_owned(),
            source_table: Some("public.users".to_owned()),
            sequence_id: Some(Long(7)),
            latest_sequence_id: Some(Long(8)),
            backlog: Long(1),
            copied: true,
            resync_requested: false,
            quarantined: Long(0),
            differences: None,
            error: None,
            retry_at: None,
        }],
        quarantined: Vec::new(),
        connection: None,
        key: None,
    }
}

fn way(polled: i64) -> Way {
    Way {
        read_at: at(0),
        head: 8,
        polled,
        polled_at: at(-1),
        numbered_by: None,
        numbering_since: None,
        oldest_pending_at: None,
        request: None,
    }
}

struct Around {
    daemons: i64,
    pending: bool,
    polled: i64,
    fuse: &'static str,
}

const CALM: Around = Around { daemons: 3, pending: false, polled: 8, fuse: "" };

fn judged(subject: &Subject, around: &Around) -> WaitsFor {
    let fuse = Fuse {
        name: around.fuse.to_owned(),
        enabled: false,
        reason: Some("why".to_owned()),
        until: None,
    };
    let facts = Facts {
        tenant: "a b",
        paused: false,
        paused_until: None,
        refused: false,
        pending: around.pending,
        uncaptured: &BTreeMap::new(),
        blocked: subject.state == "blocked",
        daemons: around.daemons,
        fuses_off: &[fuse],
        way: &way(around.polled),
    };
    judge(subject, &facts)
}

#[test]
fn the_step_that_is_open_is_named() {
    let check = |subject: &Subject, around: Around, expect: Cause| {
        assert_eq!(judged(subject, &around).cause, expect);
    };
    let claimed = |until: i64| {
        let mut subject = lagging();
        let request = subject.request.as_mut().unwrap();
        request.claimed_by = Some("7:ab".to_owned());
        request.claimed_until = Some(at(until));
        subject
    };
    let retried = || {
        let mut subject = lagging();
        let request = subject.request.as_mut().unwrap();
        (request.failures, request.due_at) = (1, at(5));
        subject
    };
    check(&lagging(), Around { pending: true, ..CALM }, Cause::NotNumbered);
    check(&lagging(), Around { pending: true, fuse: "sequencer", ..CALM }, Cause::Fuse);
    check(&lagging(), Around { pending: true, daemons: 0, ..CALM }, Cause::NoDaemon);
    check(&lagging(), Around { polled: 7, ..CALM }, Cause::NotEnqueued);
    check(&lagging(), Around { polled: 7, fuse: "poller", ..CALM }, Cause::Fuse);
    check(&lagging(), CALM, Cause::NotClaimed);
    check(&lagging(), Around { fuse: "sync", ..CALM }, Cause::Fuse);
    check(&lagging(), Around { daemons: 0, ..CALM }, Cause::NoDaemon);
    check(&retried(), CALM, Cause::Retrying);
    check(&claimed(5), CALM, Cause::BeingWritten);
    check(&claimed(-5), CALM, Cause::LeaseEnded);
    check(&claimed(-5), Around { daemons: 0, ..CALM }, Cause::NoDaemon);
    // The fuse of another loop stops nothing here.
    check(&lagging(), Around { fuse: "sequencer", ..CALM }, Cause::NotClaimed);
    check(&Subject { state: "in_sync", ..lagging() }, CALM, Cause::Nothing);
}

#[test]
fn a_printed_command_is_quoted_for_a_shell() {
    let blocked = Subject {
        state: "blocked",
        reason: Some("unreachable: no".to_owned()),
        consecutive_failures: 2,
        ..lagging()
    };
    let waits = judged(&blocked, &CALM);
    assert_eq!(waits.cause, Cause::Failing);
    let remedy = waits.remedy.unwrap();
    assert!(remedy.ends_with("offtake sync --tenant 'a b' --destination main"), "{remedy}");
}
