//! CPU time by group of processes, read from /proc, on Linux only.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio_postgres::Client;

use crate::figures::Figures;

/// Who takes the time. Background processes of the servers belong to no group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    /// The server processes of the application's sessions.
    Application,
    /// Server processes at the source: of Offtake's sessions, of a walsender, of psql.
    Source,
    /// Server processes at the destination: of Offtake's sessions, of the apply worker, of psql.
    Destination,
    /// Offtake itself; or psql, where it copies.
    Program,
}

impl Group {
    pub(crate) const ALL: [Group; 4] =
        [Group::Application, Group::Source, Group::Destination, Group::Program];

    fn measure(self) -> &'static str {
        match self {
            Group::Application => "CPU of the application's backends",
            Group::Source => "CPU of source sessions",
            Group::Destination => "CPU of the destination",
            Group::Program => "CPU of the copying program",
        }
    }
}

/// Between two looks at the processes. Of a session that ends, what it took since the last look is
/// lost.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Looks between two lists of the sessions, because a list costs the server more than a look.
const LOOKS_PER_LIST: u32 = 5;

/// The sessions of the servers that are watched.
const SESSIONS: &str = "
    select pid, application_name, backend_type from pg_stat_activity
     where pid <> pg_backend_pid() and backend_type is not null";

/// Watches the processes of both servers and a program while something runs.
pub(crate) struct Meter<'a> {
    source: &'a Client,
    destination: Option<&'a Client>,
    programs: Vec<u32>,
    seen: HashMap<u32, Seen>,
    lists: u32,
}

#[derive(Debug)]
struct Seen {
    group: Group,
    first: (Instant, f64),
    last: (Instant, f64),
}

/// What the groups took.
#[derive(Debug)]
pub(crate) struct Spent {
    pub(crate) elapsed: f64,
    seconds: HashMap<Group, f64>,
    /// Of the application's sessions only: how much of a core while they were there.
    application_cores: f64,
    /// How often the meter listed the sessions of each server.
    pub(crate) lists: u32,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(
        source: &'a Client,
        destination: Option<&'a Client>,
        program: Option<u32>,
    ) -> Self {
        let programs = program.into_iter().collect();
        Self { source, destination, programs, seen: HashMap::new(), lists: 0 }
    }

    /// Also counts these processes as the program.
    pub(crate) fn watch(&mut self, programs: &[u32]) {
        self.programs.extend(programs);
    }

    /// Runs `work` to its end, and says what was taken meanwhile.
    pub(crate) async fn during<T>(
        mut self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(T, Spent)> {
        let began = Instant::now();
        self.list(true).await?;
        let mut work = pin!(work);
        let mut looks = 0_u32;
        let done = loop {
            tokio::select! {
                done = &mut work => break done?,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            looks += 1;
            if looks % LOOKS_PER_LIST == 1 {
                self.list(false).await?;
            }
            self.look();
        };
        let elapsed = began.elapsed().as_secs_f64();
        self.list(false).await?;
        self.look();
        Ok((done, self.spent(elapsed)))
    }

    /// Finds the sessions. What those took that are there at the beginning does not count.
    async fn list(&mut self, beginning: bool) -> anyhow::Result<()> {
        self.lists += 1;
        let now = Instant::now();
        let mut found: Vec<(u32, Group)> =
            self.programs.iter().map(|pid| (*pid, Group::Program)).collect();
        for (client, at_source) in [(Some(self.source), true), (self.destination, false)] {
            let Some(client) = client else { continue };
            for row in client.query(SESSIONS, &[]).await? {
                let pid = row.get::<_, i32>("pid").unsigned_abs();
                let (name, kind) = (row.get("application_name"), row.get("backend_type"));
                found.extend(group(name, kind, at_source).map(|group| (pid, group)));
            }
        }
        for (pid, group) in found {
            let Ok(seconds) = cpu_seconds(pid) else { continue };
            let known = beginning || group == Group::Application;
            let first = (now, if known { seconds } else { 0.0 });
            self.seen.entry(pid).or_insert(Seen { group, first, last: (now, seconds) });
        }
        Ok(())
    }

    fn look(&mut self) {
        for (pid, seen) in &mut self.seen {
            if let Ok(seconds) = cpu_seconds(*pid) {
                seen.last = (Instant::now(), seconds);
            }
        }
    }

    fn spent(&self, elapsed: f64) -> Spent {
        let mut spent =
            Spent { elapsed, seconds: HashMap::new(), application_cores: 0.0, lists: self.lists };
        for seen in self.seen.values() {
            let seconds = (seen.last.1 - seen.first.1).max(0.0);
            *spent.seconds.entry(seen.group).or_default() += seconds;
            let lived = (seen.last.0 - seen.first.0).as_secs_f64();
            if seen.group == Group::Application && lived > 0.0 {
                spent.application_cores += seconds / lived;
            }
        }
        spent
    }
}

impl Spent {
    /// Seconds of a processor. Of the application's sessions, as if they had run from the beginning
    /// to the end: they connect a moment later, and end before the last look.
    pub(crate) fn seconds(&self, group: Group) -> f64 {
        match group {
            Group::Application => self.application_cores * self.elapsed,
            _ => self.seconds.get(&group).copied().unwrap_or_default(),
        }
    }

    /// Adds what each group took for one of `pieces`, in microseconds. Groups that took nothing are
    /// left out.
    pub(crate) fn add_per(
        &self,
        figures: &mut Figures,
        case: &str,
        side: &str,
        (pieces, piece): (f64, &str),
    ) {
        let unit = format!("µs per {piece}");
        for group in Group::ALL {
            let seconds = self.seconds(group);
            if seconds > 0.0 {
                figures.add(case, (group.measure(), &unit), side, seconds / pieces * 1e6);
            }
        }
    }
}

/// Which side a session belongs to. The benchmark's own sessions and background processes belong
/// to neither.
fn group(application_name: &str, backend_type: &str, at_source: bool) -> Option<Group> {
    let copies = application_name.starts_with("offtake")
        || application_name == "psql"
        || backend_type == "walsender"
        || backend_type.starts_with("logical replication") && backend_type.ends_with("worker");
    match (application_name, at_source) {
        ("pgbench", true) => Some(Group::Application),
        (_, true) if copies => Some(Group::Source),
        (_, false) if copies => Some(Group::Destination),
        _ => None,
    }
}

/// User and system time of all threads, exact to the nanosecond. The times in /proc/…/stat are
/// sampled 100 times a second; they count a process that wakes for 0.1 ms at a time only by chance.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let mut nanoseconds = 0.0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))
        .context("CPU time is read from /proc, on Linux only")?
    {
        // A thread may end between the list and the look.
        let Ok(times) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        nanoseconds += times
            .split_whitespace()
            .next()
            .and_then(|field| field.parse::<f64>().ok())
            .context("unexpected schedstat")?;
    }
    Ok(nanoseconds / 1e9)
}

/// What a server's processes have taken, those that have ended included. In hundredths of a second.
pub(crate) async fn server_seconds(client: &Client) -> anyhow::Result<f64> {
    let read = "select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)";
    let postmaster: String = client.query_one(read, &[]).await?.get(0);
    let mut ticks = stat(&postmaster)?.iter().sum::<f64>();
    for process in std::fs::read_dir("/proc")? {
        let process = process?.file_name().to_string_lossy().into_owned();
        if process.bytes().all(|b| b.is_ascii_digit()) && parent(&process) == postmaster {
            ticks += stat(&process).unwrap_or_default()[..2].iter().sum::<f64>();
        }
    }
    Ok(ticks / 100.0)
}

/// User and system time of the process itself, and of its children that have ended.
fn stat(process: &str) -> anyhow::Result<[f64; 4]> {
    let fields = fields(process);
    let time = |at: usize| -> anyhow::Result<f64> {
        Ok(fields.get(at).context("unexpected /proc/…/stat")?.parse()?)
    };
    Ok([time(11)?, time(12)?, time(13)?, time(14)?])
}

fn parent(process: &str) -> String {
    fields(process).get(1).cloned().unwrap_or_default()
}

/// The fields behind the process's name.
fn fields(process: &str) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let rest = text.rsplit(") ").next().unwrap_or_default();
    rest.split_whitespace().map(str::to_owned).collect()
}
