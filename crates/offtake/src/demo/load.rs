//! The write load on the sample application: random writes at random places, always the same for
//! the same seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Statement};
use tokio_util::sync::CancellationToken;

use super::sql::{LIST_TENANCIES, WRITE_SAMPLE_LOAD};

/// A session that writes as the sample application's users do. It makes one write at a time, so
/// that the same seed on the same rows gives the same writes.
pub struct Load {
    client: Client,
    random: StdRng,
    kinds: Vec<Kind>,
    weights: u32,
    tenancies: Vec<String>,
    totals: Totals,
}

/// How much a load has written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Transactions, including those that were rolled back.
    pub writes: u64,
    /// Rows that the statements changed themselves, without those that cascades changed.
    pub rows: u64,
}

/// One kind of write.
struct Kind {
    name: String,
    weight: u32,
    statements: Vec<Statement>,
    /// The transaction ends with `rollback`.
    undone: bool,
}

/// How often the load makes the writes that have become due.
const TICK: Duration = Duration::from_millis(10);

const PLACEHOLDERS: [(&str, &str); 3] = [
    (
        "{user}",
        "(select u.project_user_id from public.project_user u
          where u.tenancy_id = $1::uuid and u.project_user_id >= $3::uuid order by u.project_user_id limit 1)",
    ),
    ("{team}", "(select t.team_id from public.team t where t.tenancy_id = $1::uuid and t.team_id >= $3::uuid order by t.team_id limit 1)"),
    (
        "{invitation}",
        "(select i.id from public.invitation i join public.tenancy t on t.project_id = i.project_id and t.branch_id = i.branch_id
          where t.id = $1::uuid and i.id >= $3::uuid order by i.id limit 1)",
    ),
];

impl Load {
    /// Prepares the load for the tenancies that exist now. Fails where there are none.
    pub async fn new(client: Client, seed: u64) -> anyhow::Result<Self> {
        let rows = client.query(LIST_TENANCIES, &[]).await?;
        let tenancies: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        anyhow::ensure!(
            !tenancies.is_empty(),
            "the sample application has no tenancy to write for"
        );
        let mut kinds = Vec::new();
        for text in WRITE_SAMPLE_LOAD.split("\n-- kind: ").skip(1) {
            kinds.push(Kind::prepare(&client, text).await?);
        }
        let weights = kinds.iter().map(|kind| kind.weight).sum();
        Ok(Self {
            client,
            random: StdRng::seed_from_u64(seed),
            kinds,
            weights,
            tenancies,
            totals: Totals::default(),
        })
    }

    /// How much was written so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The names of all kinds of writes.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.iter().map(|kind| kind.name.as_str())
    }

    /// Makes one write of a random kind. Returns the kind's name.
    pub async fn write(&mut self) -> Result<&str, Error> {
        let mut at = self.random.random_range(0..self.weights);
        let kind = self.kinds.iter().position(|kind| match at.checked_sub(kind.weight) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        });
        self.write_kind(kind.unwrap_or_default()).await
    }

    /// Makes one write of every kind, in the order of the file.
    pub async fn write_every_kind(&mut self) -> Result<(), Error> {
        for kind in 0..self.kinds.len() {
            self.write_kind(kind).await?;
        }
        Ok(())
    }

    async fn write_kind(&mut self, kind: usize) -> Result<&str, Error> {
        let (acting, other) = self.two_tenancies();
        let (place, new) = (self.uuid(), self.uuid());
        let number: i64 = self.random.random_range(0..1_000_000);
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&self.tenancies[acting], &self.tenancies[other], &place, &number, &new];
        let kind = &self.kinds[kind];
        let rows = match kind.write(&self.client, &parameters).await {
            Ok(rows) => rows,
            Err(error) => {
                // Leave the session usable for the next write. Where the connection is lost, the
                // error that is returned says so.
                let _ = self.client.batch_execute("rollback").await;
                return Err(error);
            }
        };
        self.totals.writes += 1;
        self.totals.rows += if kind.undone { 0 } else { rows };
        Ok(&kind.name)
    }

    fn two_tenancies(&mut self) -> (usize, usize) {
        let count = self.tenancies.len();
        let acting = self.random.random_range(0..count);
        let step = if count > 1 { self.random.random_range(1..count) } else { 0 };
        (acting, (acting + step) % count)
    }

    fn uuid(&mut self) -> String {
        let mut bytes = [0; 16];
        self.random.fill_bytes(&mut bytes);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Makes `rate` writes per second, or as many as the server takes, until `stop`. After every
    /// few writes, `watch` receives the totals.
    pub async fn run(
        &mut self,
        rate: u32,
        stop: &CancellationToken,
        mut watch: impl FnMut(Totals),
    ) -> Result<(), Error> {
        let begun = Instant::now();
        let before = self.totals.writes;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            ticks.tick().await;
            let due = before + (begun.elapsed().as_secs_f64() * f64::from(rate)) as u64;
            while self.totals.writes < due && !stop.is_cancelled() {
                self.write().await?;
            }
            watch(self.totals);
        }
        Ok(())
    }
}

impl Kind {
    async fn prepare(client: &Client, text: &str) -> anyhow::Result<Self> {
        let (head, body) = text.split_once('\n').unwrap_or((text, ""));
        let (name, weight) = head.rsplit_once(", ").unwrap_or((head, "1"));
        let mut kind = Self {
            name: name.to_owned(),
            weight: weight.trim().parse()?,
            statements: Vec::new(),
            undone: false,
        };
        for statement in body.split(";\n").map(str::trim).filter(|statement| !statement.is_empty())
        {
            if statement == "rollback" {
                kind.undone = true;
                continue;
            }
            let sql = PLACEHOLDERS
                .iter()
                .fold(statement.to_owned(), |sql, (name, meaning)| sql.replace(name, meaning));
            // A statement may not use all parameters, so the server cannot infer their types.
            let types = [Type::TEXT, Type::TEXT, Type::TEXT, Type::INT8, Type::TEXT];
            kind.statements.push(client.prepare_typed(&sql, &types).await.map_err(|error| {
                let said = error.as_db_error().map(ToString::to_string);
                anyhow::anyhow!(
                    "the sample load's `{name}` cannot be prepared: {}",
                    said.unwrap_or_else(|| error.to_string())
                )
            })?);
        }
        Ok(kind)
    }

    /// Runs the statements; returns the number of rows that they report.
    async fn write(
        &self,
        client: &Client,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Error> {
        if let ([statement], false) = (self.statements.as_slice(), self.undone) {
            return client.execute(statement, parameters).await;
        }
        let mut rows = 0;
        client.batch_execute("begin").await?;
        for statement in &self.statements {
            rows += client.execute(statement, parameters).await?;
        }
        client.batch_execute(if self.undone { "rollback" } else { "commit" }).await?;
        Ok(rows)
    }
}
