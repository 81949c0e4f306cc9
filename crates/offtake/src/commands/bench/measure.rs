//! The statements that are measured, on both copies in turns.

use std::io::IsTerminal as _;
use std::time::Instant;

use offtake_capture::{LOG, SAMPLE, WITH_CAPTURE, WITHOUT_CAPTURE};
use offtake_mapping::Identifier;
use offtake_postgres::Fault;
use tokio_postgres::{Client, Error, Statement};

use super::plan::Plan;
use crate::outcome::{Exit, Failure};

/// A lock that another session holds on the table is not waited for longer: writers would queue up
/// behind us. A statement over the sample takes seconds at most.
const SESSION: &str = "set lock_timeout = '5s'; set statement_timeout = '5min'; \
     set row_security = off; set client_min_messages = warning";

/// Statements of one row of each kind, in one round. Their median is the round's sample.
const SINGLES: usize = 300;

/// So many of them on one copy, then as many on the other: what else the server does meanwhile
/// slows both.
const BLOCK: usize = 50;

/// A statement that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Update,
    Insert,
    Delete,
}

/// How many rows a statement writes, and what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// A transaction with its commit, as the server is set.
    One,
    /// The same with `synchronous_commit = off`: what a slow disk takes, and how evenly, is left
    /// out.
    OneUnflushed,
    Many,
}

/// One statement with its samples, one of each round and copy: microseconds per row.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) kind: Kind,
    pub(super) size: Size,
    pub(super) without: Vec<f64>,
    pub(super) with: Vec<f64>,
}

#[derive(Debug)]
pub(super) struct Measured {
    /// Rows of the sample.
    pub(super) rows: usize,
    /// Rows that the triggers appended to the copy's log.
    pub(super) captured: i64,
    pub(super) cases: Vec<Case>,
}

pub(super) async fn measure(source: &Client, plan: &Plan) -> Result<Measured, Failure> {
    let begin = async {
        source.batch_execute(SESSION).await?;
        source.batch_execute(&plan.copies.script).await?;
        source.execute(&sampling(plan), &[]).await
    };
    let rows = begin.await.map_err(|error| refused(plan, "cannot copy", error))?;
    if rows == 0 {
        let message = format!("{} has no rows to copy", plan.table.in_sql());
        return Err(Failure::new(Exit::Failed, message)
            .remedy("measure where the table has rows, such as a restored copy of the database"));
    }
    let rows = rows as usize;
    rounds(source, plan, rows).await.map_err(|error| refused(plan, "cannot measure on", error))
}

/// Copies the first rows that the server finds.
fn sampling(plan: &Plan) -> String {
    let columns = column_list(&plan.columns);
    format!(
        "insert into {}.{SAMPLE} ({columns}) select {columns} from {}{} limit {}",
        plan.schema,
        if plan.only { "only " } else { "" },
        plan.table.sql(),
        plan.rows
    )
}

fn refused(plan: &Plan, what: &str, error: Error) -> Failure {
    let error = offtake_postgres::Error::from(error);
    let table = plan.table.in_sql();
    let failure = Failure::of_source(&format!("{what} copies of {table}"), &error);
    match error.fault() {
        Fault::Full => failure.remedy("free space at the source, or add --rows with fewer rows"),
        Fault::Row => failure.remedy(format!(
            "a row of {table} does not meet the table's own definition, such as a constraint that \
             was never validated; mend it, or measure on a table with other rows"
        )),
        _ if error.sqlstate() == Some(&offtake_postgres::SqlState::LOCK_NOT_AVAILABLE) => {
            failure.remedy(format!("another session holds a lock on {table}; try again later"))
        }
        _ => failure,
    }
}

async fn rounds(source: &Client, plan: &Plan, rows: usize) -> Result<Measured, Error> {
    let sample = format!("{}.{SAMPLE}", plan.schema);
    // Under its own name, the column would be ordered as text.
    let places = format!("select ctid::text as place from {sample} order by ctid limit {SINGLES}");
    let places: Vec<String> =
        source.query(&places, &[]).await?.iter().map(|row| row.get(0)).collect();
    let mut copies = [
        Copy::new(source, plan, WITHOUT_CAPTURE).await?,
        Copy::new(source, plan, WITH_CAPTURE).await?,
    ];
    let mut measured = Measured { rows, captured: 0, cases: Vec::new() };
    // The first round only fills caches.
    for round in 0..=plan.rounds {
        if std::io::stderr().is_terminal() {
            eprintln!("round {round} of {}", plan.rounds);
        }
        let mut times = Times::default();
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        singles(&mut copies, order, &places, (Size::One, &mut times)).await?;
        source.batch_execute("set synchronous_commit = off").await?;
        singles(&mut copies, order, &places, (Size::OneUnflushed, &mut times)).await?;
        source.batch_execute("reset synchronous_commit").await?;
        whole(&copies, order, &mut times).await?;
        if round > 0 {
            times.add_to(&mut measured);
        }
    }
    Ok(measured)
}

/// The times of one round: of each statement, on each copy.
#[derive(Debug, Default)]
struct Times {
    statements: Vec<(Size, Kind, [Vec<f64>; 2])>,
    captured: i64,
}

impl Times {
    fn of(&mut self, size: Size, kind: Kind, copy: usize) -> &mut Vec<f64> {
        let known = self.statements.iter().position(|(s, k, _)| (*s, *k) == (size, kind));
        let at = known.unwrap_or_else(|| {
            self.statements.push((size, kind, Default::default()));
            self.statements.len() - 1
        });
        &mut self.statements[at].2[copy]
    }

    /// Adds the round's medians.
    fn add_to(self, measured: &mut Measured) {
        for (size, kind, [without, with]) in self.statements {
            let known = measured.cases.iter().position(|c| (c.size, c.kind) == (size, kind));
            let at = known.unwrap_or_else(|| {
                measured.cases.push(Case { kind, size, without: Vec::new(), with: Vec::new() });
                measured.cases.len() - 1
            });
            measured.cases[at].without.push(median(&without));
            measured.cases[at].with.push(median(&with));
        }
        measured.captured += self.captured;
    }
}

/// One statement over all rows of the sample, of each kind.
async fn whole(copies: &[Copy<'_>; 2], order: [usize; 2], times: &mut Times) -> Result<(), Error> {
    for copy in copies {
        copy.empty().await?;
    }
    for kind in [Kind::Insert, Kind::Update, Kind::Delete] {
        for at in order {
            let copy = &copies[at];
            let began = Instant::now();
            let rows = copy.client.execute(&copy.whole(kind), &[]).await?;
            times.of(Size::Many, kind, at).push(microseconds(began) / rows as f64);
            if kind == Kind::Insert {
                copy.vacuum().await?;
            }
        }
    }
    times.captured += copies[1].captured().await?;
    Ok(())
}

/// Statements of one row, each a transaction, beside the other rows of the sample.
async fn singles(
    copies: &mut [Copy<'_>; 2],
    order: [usize; 2],
    places: &[String],
    (size, times): (Size, &mut Times),
) -> Result<(), Error> {
    for copy in copies.iter() {
        copy.fill_without(places).await?;
    }
    copies[1].empty_log().await?;
    for block in places.chunks(BLOCK) {
        for kind in [Kind::Insert, Kind::Update, Kind::Delete] {
            for at in order {
                copies[at].each(kind, block, times.of(size, kind, at)).await?;
            }
        }
    }
    times.captured += copies[1].captured().await?;
    Ok(())
}

/// One of the two copies.
struct Copy<'a> {
    client: &'a Client,
    plan: &'a Plan,
    /// With its schema.
    name: String,
    insert: Statement,
    update: Statement,
    delete: Statement,
    /// Where the rows of the block stand that is at work. A row is found by its place, because
    /// a table needs no key to be captured.
    places: Vec<String>,
}

impl<'a> Copy<'a> {
    async fn new(client: &'a Client, plan: &'a Plan, name: &str) -> Result<Self, Error> {
        let (schema, columns) = (&plan.schema, column_list(&plan.columns));
        let (name, written) = (format!("{schema}.{name}"), plan.written.sql());
        let at = "ctid = $1::text::tid";
        let insert = format!(
            "insert into {name} ({columns}) select {columns} from {schema}.{SAMPLE} where {at} returning ctid::text"
        );
        let update =
            format!("update {name} set {written} = {written} where {at} returning ctid::text");
        let delete = format!("delete from {name} where {at}");
        Ok(Self {
            client,
            plan,
            insert: client.prepare(&insert).await?,
            update: client.prepare(&update).await?,
            delete: client.prepare(&delete).await?,
            name,
            places: Vec::new(),
        })
    }

    /// A statement over all rows.
    fn whole(&self, kind: Kind) -> String {
        let (name, written) = (&self.name, self.plan.written.sql());
        match kind {
            Kind::Insert => self.filling(),
            Kind::Update => format!("update {name} set {written} = {written}"),
            Kind::Delete => format!("delete from {name}"),
        }
    }

    fn filling(&self) -> String {
        let (columns, schema) = (column_list(&self.plan.columns), &self.plan.schema);
        format!("insert into {} ({columns}) select {columns} from {schema}.{SAMPLE}", self.name)
    }

    /// Has all rows of the sample, except those.
    async fn fill_without(&self, places: &[String]) -> Result<(), Error> {
        self.empty().await?;
        if let Some(last) = places.last() {
            // A place is two numbers in brackets.
            let others = format!("{} where ctid > '{last}'::tid", self.filling());
            self.client.batch_execute(&others).await?;
        }
        self.vacuum().await
    }

    /// The copy, and what was captured of both so far.
    async fn empty(&self) -> Result<(), Error> {
        self.client.batch_execute(&format!("truncate {}", self.name)).await?;
        self.empty_log().await
    }

    async fn empty_log(&self) -> Result<(), Error> {
        self.client.batch_execute(&format!("truncate {}.{LOG}", self.plan.schema)).await
    }

    async fn vacuum(&self) -> Result<(), Error> {
        self.client.batch_execute(&format!("vacuum analyze {}", self.name)).await
    }

    async fn captured(&self) -> Result<i64, Error> {
        let count = format!("select count(*) from {}.{LOG}", self.plan.schema);
        Ok(self.client.query_one(&count, &[]).await?.get(0))
    }

    /// The statement for each row of the block, which is inserted first and deleted last.
    async fn each(
        &mut self,
        kind: Kind,
        block: &[String],
        times: &mut Vec<f64>,
    ) -> Result<(), Error> {
        if kind == Kind::Insert {
            self.places = block.to_vec();
        }
        for place in &mut self.places {
            let began = Instant::now();
            let moved = match kind {
                Kind::Insert => Some(self.client.query_one(&self.insert, &[place]).await?),
                Kind::Update => Some(self.client.query_one(&self.update, &[place]).await?),
                Kind::Delete => {
                    self.client.execute(&self.delete, &[place]).await?;
                    None
                }
            };
            times.push(microseconds(began));
            if let Some(row) = moved {
                *place = row.get(0);
            }
        }
        Ok(())
    }
}

fn column_list(columns: &[Identifier]) -> String {
    columns.iter().map(Identifier::sql).collect::<Vec<_>>().join(", ")
}

fn microseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}

/// The one in the middle; of an even number, the lower of two.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}
