//! How long a change takes from its commit at the application until a customer sees it. It is
//! measured from outside: the probe writes one row, and asks the destination until the row is
//! there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, Statement};
use tokio_util::sync::CancellationToken;

use super::sql::{INSERT_PROBE, SELECT_PROBE, SELECT_PROBE_IN_FILE, UPDATE_PROBE};
use super::stage::{Stage, Tenant, connect};

/// The pause between two probes: short enough for a p99 within seconds, long enough to cost
/// nothing.
const PROBE_EVERY: Duration = Duration::from_millis(50);
/// The resolution of the measurement. The runtime's clock has no finer one.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// A change that takes longer counts as having taken this long.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// The durations measured so far.
#[derive(Clone, Default)]
pub(super) struct Latencies(Arc<Mutex<Vec<Duration>>>);

impl Latencies {
    pub(super) fn add(&self, latency: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(latency);
    }

    /// How many were measured.
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Median and 99th percentile, without the first `skip` durations. None where there are no
    /// others.
    pub(super) fn percentiles(&self, skip: usize) -> Option<(Duration, Duration)> {
        let mut latencies =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get(skip..)?.to_vec();
        latencies.sort();
        let last = latencies.len().checked_sub(1)?;
        Some((latencies[last / 2], latencies[last * 99 / 100]))
    }
}

/// Probes one tenant after the other.
pub(super) struct Probe {
    application: Client,
    update: Statement,
    customers: Vec<(String, Customer)>,
    latencies: Latencies,
}

/// How a customer looks into its copy.
enum Customer {
    Database(Client, Statement),
    File(Arc<Mutex<rusqlite::Connection>>),
}

impl Customer {
    async fn connect(tenant: &Tenant) -> anyhow::Result<Self> {
        let Some(file) = tenant.file() else {
            let customer = connect(&tenant.url).await?;
            let select = customer.prepare(SELECT_PROBE).await?;
            return Ok(Self::Database(customer, select));
        };
        let connection = rusqlite::Connection::open(file)?;
        connection.busy_timeout(GIVE_UP_AFTER)?;
        Ok(Self::File(Arc::new(Mutex::new(connection))))
    }

    async fn sees(&self, mark: &str) -> anyhow::Result<bool> {
        match self {
            Self::Database(customer, select) => {
                Ok(customer.query_opt(select, &[&mark]).await?.is_some())
            }
            Self::File(connection) => {
                let (connection, mark) = (connection.clone(), mark.to_owned());
                let look = move || {
                    let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                    let mut select = connection.prepare_cached(SELECT_PROBE_IN_FILE)?;
                    select.exists([mark])
                };
                Ok(tokio::task::spawn_blocking(look).await??)
            }
        }
    }
}

impl Probe {
    /// Inserts the probe's row for every tenant, and connects to all destinations.
    pub(super) async fn new(stage: &Stage, latencies: Latencies) -> anyhow::Result<Self> {
        let application = connect(&stage.application_url()).await?;
        application.execute(INSERT_PROBE, &[]).await?;
        let update = application.prepare(UPDATE_PROBE).await?;
        let mut customers = Vec::new();
        for tenant in &stage.tenants {
            customers.push((tenant.id.clone(), Customer::connect(tenant).await?));
        }
        Ok(Self { application, update, customers, latencies })
    }

    pub(super) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut number = 0_u64;
        loop {
            for (tenancy, customer) in &self.customers {
                number += 1;
                let mark = format!("probe {number}");
                self.application.execute(&self.update, &[tenancy, &mark]).await?;
                let committed = Instant::now();
                while !customer.sees(&mark).await? && committed.elapsed() < GIVE_UP_AFTER {
                    if stop.is_cancelled() {
                        return Ok(());
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                self.latencies.add(committed.elapsed());
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = tokio::time::sleep(PROBE_EVERY) => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_not_skipped() {
        let latencies = Latencies::default();
        assert_eq!(latencies.percentiles(0), None);
        (1..=1000).for_each(|ms| latencies.add(Duration::from_millis(ms)));
        assert_eq!(
            latencies.percentiles(0),
            Some((Duration::from_millis(500), Duration::from_millis(990)))
        );
        assert_eq!(
            latencies.percentiles(999),
            Some((Duration::from_secs(1), Duration::from_secs(1)))
        );
        assert_eq!(latencies.percentiles(1000), None);
    }
}
