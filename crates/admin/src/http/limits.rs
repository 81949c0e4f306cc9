//! How many requests are answered per second. Clients with a token share one limit, which bounds
//! what the source pays for; each client without one has limits of its own, so that a stranger
//! takes nothing from the operators.
//!
//! Probes and metrics have no limit: they must answer when everything else is refused.
//!
//! The buckets are our own. The crate `governor` cannot say whether a bucket is empty without
//! taking from it, which [`Limits::right_token`] needs, and it bounds no number of clients: it
//! forgets only those whose buckets are full again.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// `burst` requests at once, and `per_second` from then on.
#[derive(Debug, Clone, Copy)]
struct Rate {
    burst: f64,
    per_second: f64,
}

/// Requests to the API with a right token, of all clients together: they cost the source's time.
/// Twenty dashboards and a script that asks as fast as it is answered stay below it.
const ADMITTED: Rate = Rate { burst: 400.0, per_second: 200.0 };

/// Requests of one client without a token, and for the dashboard's files. They are answered from
/// memory, but still cost CPU time. Opening the dashboard takes nineteen.
const ANONYMOUS: Rate = Rate { burst: 100.0, per_second: 50.0 };

/// Wrong tokens of one client: enough for a person to correct a mistyped token, and only 43 000
/// guesses a day at a token of 16 characters or more.
const WRONG_TOKENS: Rate = Rate { burst: 30.0, per_second: 0.5 };

/// Requests of one tenant with its status token, from whatever address: its page asks every ten
/// seconds, and some people of a tenant may look at it.
const TENANT: Rate = Rate { burst: 30.0, per_second: 2.0 };

/// Requests with status tokens of all tenants together: a tenth of what operators have, so that
/// tenants take neither the operators' share nor much of the source's time.
const TENANTS: Rate = Rate { burst: 100.0, per_second: 20.0 };

/// Beyond this many remembered tenants, those are forgotten whose buckets are full again. The limit
/// of all tenants leaves no more than some 400 others.
const TENANTS_MAX: usize = 1024;

/// At most this many clients are remembered, in some 100 KB. When there are more, the client that
/// was silent longest is forgotten; its limits begin again when it comes back.
const CLIENTS_MAX: usize = 1024;

/// At most one warning per this time, so that guessing tokens does not fill the log.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The client asks too often; this long until the next request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait(Duration);

impl Wait {
    /// For `Retry-After`.
    pub(super) fn seconds(self) -> u64 {
        self.0.as_secs_f64().ceil().max(1.0) as u64
    }
}

/// The limits of one listener.
pub(super) struct Limits(Mutex<State>);

struct State {
    admitted: Bucket,
    tenants: Bucket,
    by_tenant: HashMap<String, Bucket>,
    clients: HashMap<IpAddr, Client>,
    warned_at: Option<Instant>,
}

/// What is remembered of one client address.
struct Client {
    anonymous: Bucket,
    wrong_tokens: Bucket,
    /// It has shown a right token. From then on right tokens are always accepted from this address,
    /// even while another client behind it, or a script with an old token, sends wrong ones.
    known: bool,
    asked_at: Instant,
}

impl Limits {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            admitted: Bucket::full(ADMITTED, Instant::now()),
            tenants: Bucket::full(TENANTS, Instant::now()),
            by_tenant: HashMap::new(),
            clients: HashMap::new(),
            warned_at: None,
        }))
    }

    /// Takes one request with a right token from the limit that all clients share.
    pub(super) fn admitted(&self) -> Result<(), Wait> {
        self.state().admitted.take(Instant::now())
    }

    /// Takes one request with a status token from the tenant's limit, and from that of all tenants.
    pub(super) fn tenant(&self, tenant: &str) -> Result<(), Wait> {
        let now = Instant::now();
        let mut state = self.state();
        state.tenants.look(now)?;
        state.of_tenant(tenant, now).take(now)?;
        state.tenants.take(now)
    }

    /// Takes one request without a token from the client's limit.
    pub(super) fn anonymous(&self, address: IpAddr) -> Result<(), Wait> {
        let now = Instant::now();
        self.state().client(address, now).anonymous.take(now)
    }

    /// Whether a right token from this client is accepted. Not after too many wrong ones: otherwise
    /// the limit would not slow down guessing.
    pub(super) fn right_token(&self, address: IpAddr) -> Result<(), Wait> {
        let now = Instant::now();
        let mut state = self.state();
        let client = state.client(address, now);
        if !client.known {
            client.wrong_tokens.look(now)?;
            client.known = true;
        }
        Ok(())
    }

    /// Takes one wrong token from the client's limit.
    pub(super) fn wrong_token(&self, address: IpAddr) -> Result<(), Wait> {
        let now = Instant::now();
        let mut state = self.state();
        let taken = state.client(address, now).wrong_tokens.take(now);
        if taken.is_err() && state.warned_at.is_none_or(|at| now.duration_since(at) >= WARN_EVERY) {
            state.warned_at = Some(now);
            tracing::warn!(
                event = "http.wrong_tokens",
                %address,
                "{address} has shown many wrong tokens; it is answered 429 for now"
            );
        }
        taken
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn of_tenant(&mut self, tenant: &str, now: Instant) -> &mut Bucket {
        if self.by_tenant.len() >= TENANTS_MAX && !self.by_tenant.contains_key(tenant) {
            // One that is full again says no more than one that is not there.
            self.by_tenant.retain(|_, bucket| !bucket.is_full(now));
        }
        self.by_tenant.entry(tenant.to_owned()).or_insert_with(|| Bucket::full(TENANT, now))
    }

    fn client(&mut self, address: IpAddr, now: Instant) -> &mut Client {
        let address = one_client(address);
        if self.clients.len() >= CLIENTS_MAX && !self.clients.contains_key(&address) {
            let longest = self
                .clients
                .iter()
                .min_by_key(|(_, client)| client.asked_at)
                .map(|(address, _)| *address);
            longest.and_then(|address| self.clients.remove(&address));
        }
        let client = self.clients.entry(address).or_insert_with(|| Client {
            anonymous: Bucket::full(ANONYMOUS, now),
            wrong_tokens: Bucket::full(WRONG_TOKENS, now),
            known: false,
            asked_at: now,
        });
        client.asked_at = now;
        client
    }
}

/// The address that stands for a client. An IPv6 client usually has a whole network of 64 bits, so
/// all addresses of such a network count as one client.
fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

/// A token bucket: refills at its rate, up to its burst.
#[derive(Debug)]
struct Bucket {
    rate: Rate,
    left: f64,
    at: Instant,
}

impl Bucket {
    fn full(rate: Rate, now: Instant) -> Self {
        Self { rate, left: rate.burst, at: now }
    }

    /// Whether a request may be taken, without taking it.
    fn look(&mut self, now: Instant) -> Result<(), Wait> {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * self.rate.per_second).min(self.rate.burst);
        self.at = now;
        if self.left < 1.0 {
            return Err(Wait(Duration::from_secs_f64((1.0 - self.left) / self.rate.per_second)));
        }
        Ok(())
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.look(now).is_ok() && self.left >= self.rate.burst
    }

    fn take(&mut self, now: Instant) -> Result<(), Wait> {
        self.look(now)?;
        self.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_its_burst_and_then_its_rate() {
        let mut now = Instant::now();
        let mut bucket = Bucket::full(Rate { burst: 3.0, per_second: 0.5 }, now);
        let mut take = |later: f64| {
            now += Duration::from_secs_f64(later);
            bucket.take(now).map_err(Wait::seconds)
        };
        let taken = [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 60.0, 0.0, 0.0, 0.0].map(&mut take);
        assert_eq!(
            taken,
            [
                Ok(()),
                Ok(()),
                Ok(()),
                Err(2),
                Err(1),
                Ok(()),
                Err(2),
                Ok(()),
                Ok(()),
                Ok(()),
                Err(2)
            ]
        );
    }

    #[test]
    fn so_many_clients_are_remembered_and_no_more() {
        let limits = Limits::new();
        let mut state = limits.state();
        let begun = Instant::now();
        let mut guess = |n: u32, at: u64| {
            let now = begun + Duration::from_micros(at);
            state.client(IpAddr::from(n.to_be_bytes()), now).wrong_tokens.take(now).is_ok()
        };
        assert_eq!((0..40).filter(|at| guess(0, *at)).count(), 30);
        for n in 1..3000 {
            assert!(guess(n, 100 + u64::from(n)));
            assert!(!guess(0, 100 + u64::from(n)), "a client that keeps asking is not forgotten");
        }
        assert_eq!(state.clients.len(), CLIENTS_MAX);
    }

    #[test]
    fn a_right_token_counts_once_it_was_shown_in_time() {
        let limits = Limits::new();
        let [operator, stranger] =
            ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        assert_eq!(limits.right_token(operator), Ok(()));
        for address in [operator, stranger] {
            limits.state().client(address, Instant::now()).wrong_tokens.left = -1000.0;
            assert!(limits.wrong_token(address).is_err());
        }
        assert!(limits.right_token(stranger).is_err() && limits.right_token(operator).is_ok());
    }

    #[test]
    fn a_network_of_64_bits_is_one_client() {
        let check = |a: &str, b: &str, expect| {
            assert_eq!(
                one_client(a.parse().unwrap()) == one_client(b.parse().unwrap()),
                expect,
                "{a} {b}"
            )
        };
        check("2001:db8:1:2:3::", "2001:db8:1:2:ffff::1", true);
        check("2001:db8:1:2::", "2001:db8:1:3::", false);
        check("192.0.2.1", "::ffff:192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
    }
}
