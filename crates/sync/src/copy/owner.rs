//! Who runs a copy, and times as checkpoints have them.

use std::time::Duration;

use jiff::Timestamp;
use rand::Rng as _;

/// How long a runner holds a table without a sign of life. Each batch is one.
pub(super) const LEASE: Duration = Duration::from_secs(60);

/// One process that copies: `host:process:number`. A process's number alone may come again.
#[derive(Debug, Clone)]
pub struct Owner {
    text: String,
    host: String,
}

impl Owner {
    /// This process.
    pub fn here() -> Self {
        let named = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let host = named.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
        let host = host.trim().replace(':', "_");
        let number: u32 = rand::rng().random();
        Self { text: format!("{host}:{}:{number:08x}", std::process::id()), host }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether another owner was a process of this machine that has ended. Another machine's, or one
    /// of which nothing is known, may live.
    pub(super) fn knows_dead(&self, other: &str) -> bool {
        let mut parts = other.splitn(3, ':');
        let (Some(host), Some(process)) = (parts.next(), parts.next()) else { return false };
        let Ok(process) = process.parse::<u32>() else { return false };
        let proc = std::path::Path::new("/proc");
        host == self.host
            && !self.host.is_empty()
            && proc.join("self").exists()
            && !proc.join(process.to_string()).exists()
    }
}

/// Now, by this machine's clock. Always as long, so that texts compare as times do.
pub(super) fn now() -> String {
    at(Timestamp::now())
}

/// When a lease ends that is taken now.
pub(super) fn lease_end() -> String {
    at(Timestamp::now() + LEASE)
}

fn at(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_this_machine_is_known_to_be_dead() {
        let here = Owner::here();
        assert!(!here.knows_dead(here.as_str()), "this process lives");
        let of = |host: &str, process: &str| format!("{host}:{process}:00000000");
        assert!(here.knows_dead(&of(&here.host, "4294967295")));
        assert!(!here.knows_dead(&of("elsewhere", "4294967295")));
        assert!(!here.knows_dead("anything"));
    }

    #[test]
    fn times_compare_as_their_texts_do() {
        let times = [0, 1, 1_000_000_000, 1_500_000_000_123]
            .map(|ms| at(Timestamp::from_millisecond(ms).expect("a time")));
        assert!(times.is_sorted() && times.iter().all(|time| time.len() == 24), "{times:?}");
    }
}
