//! Places that failed the last time: one group of their tenants tries again for all of them.
//!
//! Each attempt at a place that is down costs a dial, a time of its own for the next attempt, and a
//! turn that healthy places wait for. So after a failure all tenants of the place are put off to one
//! time. At that time the first group tries, and the tenants that come meanwhile are put off to the
//! next time. A tenant that an operator has made due is tried at once.
//!
//! Each daemon has its own outages, and forgets them when it ends. Nothing depends on them: a daemon
//! that knows of none tries.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::destinations::Trouble;

/// An outage is forgotten when no attempt was made for so long: the place may no longer be there.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

/// The places of this process that are down, by fingerprint.
#[derive(Default, Clone)]
pub(crate) struct Outages {
    places: Arc<Mutex<HashMap<String, Outage>>>,
}

struct Outage {
    /// Attempts that failed in a row.
    failures: i32,
    trouble: Trouble,
    /// The next attempt. None: no tenant has been put off yet.
    again: Option<Again>,
    /// A group of its tenants is trying.
    probing: bool,
    at: Instant,
}

/// The time of the next attempt: by the source's clock, as text, and by this process's.
#[derive(Debug, Clone)]
pub(crate) struct Again {
    pub(crate) text: String,
    pub(crate) at: Instant,
}

/// What a group of a place is to do.
pub(super) enum Entry {
    Works,
    /// The place was down, and this group tries for all.
    Tries(Probe),
    /// The place is down, and another attempt is under way or has a time.
    Down(Down),
}

/// What is known of a place that is down.
pub(super) struct Down {
    pub(super) failures: i32,
    pub(super) trouble: Trouble,
    /// None: it has passed, or is not known.
    pub(super) again: Option<Again>,
}

/// While it is there, no other group tries, unless an operator asks for it.
pub(super) struct Probe {
    outages: Outages,
    fingerprint: String,
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(outage) = self.outages.places().get_mut(&self.fingerprint) {
            outage.probing = false;
        }
    }
}

impl Outages {
    pub(crate) fn none(&self) -> bool {
        self.places().is_empty()
    }

    pub(super) fn is_down(&self, fingerprint: &str) -> bool {
        self.places().contains_key(fingerprint)
    }

    /// What a group is to do. `retried_at`: of its members that failed the last time, the times at
    /// which they were due. Where one of these is not the time that the outage has set, an operator,
    /// or another daemon, has made that member due.
    pub(super) fn enter<'a>(
        &self,
        fingerprint: &str,
        mut retried_at: impl Iterator<Item = &'a str>,
    ) -> Entry {
        let mut places = self.places();
        let Some(outage) = places.get_mut(fingerprint) else { return Entry::Works };
        let set = outage.again.as_ref().map(|again| &*again.text);
        let asked = set.is_some() && retried_at.any(|at| Some(at) != set);
        let again = outage.again.clone().filter(|again| again.at > Instant::now());
        if !asked && (again.is_some() || outage.probing) {
            let (failures, trouble) = (outage.failures, outage.trouble.clone());
            return Entry::Down(Down { failures, trouble, again });
        }
        outage.probing = true;
        let fingerprint = fingerprint.to_owned();
        Entry::Tries(Probe { outages: self.clone(), fingerprint })
    }

    /// Notes that an attempt failed. Returns how many had failed before it, and the time of the next
    /// one where another group has set it meanwhile.
    pub(super) fn failed(&self, fingerprint: &str, trouble: &Trouble) -> (i32, Option<Again>) {
        let mut places = self.places();
        places.retain(|_, outage| outage.at.elapsed() < FORGOTTEN_AFTER);
        let now = Instant::now();
        let outage = places.entry(fingerprint.to_owned()).or_insert_with(|| Outage {
            failures: 0,
            trouble: trouble.clone(),
            again: None,
            probing: false,
            at: now,
        });
        let before = outage.failures;
        outage.failures = before.saturating_add(1);
        outage.trouble = trouble.clone();
        outage.at = now;
        (before, outage.again.clone().filter(|again| again.at > now))
    }

    /// The time of the next attempt, where the place is down.
    pub(crate) fn again(&self, fingerprint: &str) -> Option<Again> {
        let again = self.places().get(fingerprint)?.again.clone();
        again.filter(|again| again.at > Instant::now())
    }

    /// Notes the time to which its tenants were put off.
    pub(super) fn put_off(&self, fingerprint: &str, again: Again) {
        if let Some(outage) = self.places().get_mut(fingerprint) {
            outage.again = Some(again);
        }
    }

    /// Notes that the place works. Returns the time that its tenants wait for.
    pub(super) fn over(&self, fingerprint: &str) -> Option<Again> {
        self.places().remove(fingerprint)?.again
    }

    fn places(&self) -> MutexGuard<'_, HashMap<String, Outage>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use offtake_postgres::Fault;

    use super::*;

    fn down() -> Trouble {
        Trouble::new(Fault::Unreachable, None, "no answer".to_owned())
    }

    fn in_(time: Duration) -> Again {
        Again { text: format!("in {time:?}"), at: Instant::now() + time }
    }

    fn enter(outages: &Outages, retried_at: &[&str]) -> Entry {
        outages.enter("there", retried_at.iter().copied())
    }

    #[test]
    fn one_group_tries_and_the_others_are_put_off() {
        let outages = Outages::default();
        assert!(matches!(enter(&outages, &[]), Entry::Works));
        assert_eq!(outages.failed("there", &down()).0, 0);
        outages.put_off("there", in_(Duration::from_secs(60)));
        let Entry::Down(found) = enter(&outages, &[]) else { panic!("it is down") };
        assert!(found.again.is_some(), "everybody waits for the same time");
        assert!(matches!(outages.enter("elsewhere", std::iter::empty()), Entry::Works));

        assert!(
            matches!(enter(&outages, &["in 60s"]), Entry::Down(_)),
            "an earlier claim of theirs"
        );
        assert!(
            matches!(enter(&outages, &["in 60s", "now"]), Entry::Tries(_)),
            "one was asked for"
        );

        outages.put_off("there", in_(Duration::ZERO));
        let Entry::Tries(probe) = enter(&outages, &[]) else { panic!("it is time") };
        let Entry::Down(found) = enter(&outages, &[]) else { panic!("another one is trying") };
        assert!(found.again.is_none(), "its time has passed");
        assert_eq!(outages.failed("there", &down()).0, 1);
        drop(probe);
        assert!(matches!(enter(&outages, &[]), Entry::Tries(_)), "nobody has a time yet");

        outages.put_off("there", in_(Duration::from_secs(60)));
        assert!(outages.over("there").is_some());
        assert!(matches!(enter(&outages, &[]), Entry::Works));
    }
}
