//! A source with so many tenants, all of them in one shared database that is never dialled.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use offtake_private_server::{Options, PrivateServer, ReservedPort, sweep};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_postgres::{Client, NoTls};

use crate::process::{self, Daemon};

const MAPPING: &str = "
source: { table: public.note, tenant: tenant }
query: select tenant as tenant_id, id, body from public.note
target: { table: notes }
";

const TABLES: &str = "
create table public.customer (tenant text primary key, url text not null);
create table public.hook (tenant text primary key, url text not null, secret text not null);
create table public.note (tenant text, id integer, body text, primary key (tenant, id));";

const STATUS_SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Every copy stands, and every tenant has a change in the log that was applied long ago.
const SETTLE: &str = "
insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at)
select nextval('offtake.global_sequence'), 'public.note', tenant_id, '{\"id\": \"1\"}', false, now()
  from offtake.destination;
update offtake.poller_position set sequence_id = (select last_value from offtake.global_sequence);
insert into offtake.destination_mapping
       (destination_id, mapping, sequence_id, backfilled, target_identity, backfill_started_at, audited_at)
select destination_id, 'notes', (select last_value from offtake.global_sequence), true, '1:1', now(), now()
  from offtake.destination;
update offtake.destination
   set state = 'in_sync', last_success_at = now(), visit_at = now() + interval '10 minutes', sequence_id = (select last_value from offtake.global_sequence);
delete from offtake.outgoing_request;";

/// What is asked of the source all the time: what it is, the file and its parameters.
pub(crate) const STATEMENTS: [(&str, &str, &str); 6] = [
    (
        "a poll with nothing to read",
        include_str!("../../../../crates/requests/sql/owe_page.sql"),
        "50000",
    ),
    (
        "a claim with nothing due",
        include_str!("../../../../crates/requests/sql/claim_requests.sql"),
        "1000, 60000, 'me', '{}'",
    ),
    (
        "a sweep of what is due",
        include_str!("../../../../crates/requests/sql/sweep_due.sql"),
        "600000",
    ),
    (
        "a sweep of a slice",
        include_str!("../../../../crates/requests/sql/sweep_slice.sql"),
        "100, 2000",
    ),
    ("the head of the log", include_str!("../../../../crates/poller/sql/probe_log.sql"), ""),
    (
        "the status's single values",
        include_str!("../../../../crates/admin/sql/read_summary.sql"),
        "",
    ),
];

pub(crate) struct Fleet {
    folder: tempfile::TempDir,
    client: Client,
    /// Stopped and removed when this is dropped.
    server: PrivateServer,
    tenants: u32,
}

impl Fleet {
    pub(crate) async fn create(tenants: u32) -> anyhow::Result<Self> {
        tokio::task::spawn_blocking(sweep).await?;
        let options = Options { durable: true, ..Options::default() }.with_random_password();
        let settings = [("shared_buffers", "1GB"), ("max_wal_size", "8GB"), ("work_mem", "32MB")];
        let options = settings.iter().fold(options, |all, (name, value)| all.setting(name, value));
        let server = PrivateServer::start(options).await?;
        let (client, connection) = tokio_postgres::connect(&server.url("postgres"), NoTls).await?;
        tokio::spawn(connection);
        // As the daemon's sessions have it.
        client.batch_execute("set jit = off").await?;
        client.batch_execute(TABLES).await?;
        let fleet = Self { folder: tempfile::tempdir()?, client, server, tenants };
        fleet.add_tenants(1, tenants).await?;
        fleet.client.batch_execute("analyze").await?;
        std::fs::create_dir(fleet.folder.path().join("mappings"))?;
        std::fs::write(fleet.folder.path().join("mappings/notes.yaml"), MAPPING)?;
        fleet.configure(0)?;
        fleet.offtake(&["init"])?;
        fleet.offtake(&["fuse", "off", "sync", "--reason", "nothing is copied here"])?;
        Ok(fleet)
    }

    fn configure(&self, port: u16) -> anyhow::Result<()> {
        let text = format!(
            "source: {{ url: \"{}\" }}\nmappings: mappings\nhttp: {{ listen: \"127.0.0.1:{port}\", status_secret: {STATUS_SECRET} }}\n\
             audit: {{ period: off }}\n\
             security: {{ allow_destinations: [\"127.0.0.0/8\"] }}\n\
             destinations:\n  query: select tenant as tenant_id, url, true as shared from public.customer\n\
             webhooks:\n  query: select tenant as tenant_id, 'crm' as name, url, secret from public.hook\n",
            self.server.url("postgres")
        );
        Ok(std::fs::write(self.folder.path().join("offtake.yaml"), text)?)
    }

    /// Tenants with ids of the length of a uuid, and one URL for all.
    async fn add_tenants(&self, from: u32, to: u32) -> anyhow::Result<()> {
        let insert = "insert into public.customer
             select format('00000000-0000-4000-8000-%s', lpad(n::text, 12, '0')),
                    'postgres://offtake:a-password-of-some-length@127.0.0.1:1/warehouse?sslmode=disable'
               from generate_series($1::bigint, $2::bigint) n";
        self.client.execute(insert, &[&i64::from(from), &i64::from(to)]).await?;
        Ok(())
    }

    /// A webhook for each tenth tenant, which nobody answers and which is told nothing.
    pub(crate) async fn add_webhooks(&self) -> anyhow::Result<()> {
        let insert = "insert into public.hook
             select tenant, 'http://127.0.0.1:1/hook', 'whsec_' || encode(sha256(tenant::bytea), 'base64')
               from public.customer where tenant like '%0'";
        Ok(self.client.batch_execute(insert).await?)
    }

    pub(crate) async fn add_tenant(&self) -> anyhow::Result<()> {
        self.add_tenants(self.tenants + 1, self.tenants + 1).await
    }

    pub(crate) fn start(&self) -> anyhow::Result<Daemon> {
        let port = ReservedPort::any()?;
        self.configure(port.number())?;
        let number = port.number();
        drop(port);
        Daemon::spawn(self.command()?, &self.folder.path().join("offtake.log"), number)
    }

    /// Runs a command of the binary to its end; it must succeed.
    pub(crate) fn offtake(&self, arguments: &[&str]) -> anyhow::Result<()> {
        self.printed(arguments).map(drop)
    }

    /// The same; returns what it printed.
    pub(crate) fn printed(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command()?.args(arguments).output().context("cannot start offtake")?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {told}");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// The binary in this program's folder, with this configuration.
    fn command(&self) -> anyhow::Result<Command> {
        let binary = std::env::current_exe()?.with_file_name("offtake");
        ensure!(binary.exists(), "{} is not built", binary.display());
        let mut command = Command::new(binary);
        command.env("OFFTAKE_CONFIG", self.folder.path().join("offtake.yaml"));
        command.env_remove("RUST_LOG").current_dir(self.folder.path());
        Ok(command)
    }

    pub(crate) async fn wait_registered(&self, destinations: i64) -> anyhow::Result<()> {
        // Cheap while a registration of very many is not committed: it reads counts by mappings.
        let count = "select coalesce(sum(destinations), 0)::bigint from offtake.destination_count";
        self.wait_counted(count, destinations).await
    }

    /// Every webhook is registered and was told that there is nothing.
    pub(crate) async fn wait_webhooks_settled(&self) -> anyhow::Result<()> {
        let missing = "select (select count(*) from public.hook) - count(*)
                         from offtake.webhook_mapping m join offtake.webhook w using (webhook_id)
                        where w.active and w.state = 'in_sync'";
        self.wait_counted(missing, 0).await
    }

    async fn wait_counted(&self, count: &str, wanted: i64) -> anyhow::Result<()> {
        const WITHIN: Duration = Duration::from_secs(1800);
        let begun = Instant::now();
        loop {
            let found: i64 = self.client.query_one(count, &[]).await?.get(0);
            if found == wanted {
                return Ok(());
            }
            let log = || std::fs::read_to_string(self.folder.path().join("offtake.log"));
            ensure!(begun.elapsed() < WITHIN, "waited in vain: {}", log().unwrap_or_default());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        self.client.batch_execute(SETTLE).await?;
        Ok(self.client.batch_execute("vacuum analyze").await?)
    }

    /// Fills the log with so many rows, and the registry as a large installation's. Returns a tenant
    /// of the middle that has a webhook.
    pub(crate) async fn fill(&self, rows: u32) -> anyhow::Result<String> {
        const FILL: &str = include_str!("../../../sql/fill_answers.sql");
        self.client.batch_execute(&FILL.replace("{rows}", &rows.to_string())).await?;
        self.client.batch_execute("vacuum analyze").await?;
        let of_the_middle = "select tenant_id from offtake.webhook order by tenant_id
                             offset (select count(*) / 2 from offtake.webhook) limit 1";
        Ok(self.client.query_one(of_the_middle, &[]).await?.get(0))
    }

    /// The code of the answer, which is read to its end.
    pub(crate) async fn get(&self, port: u16, path: &str) -> anyhow::Result<u16> {
        Ok(self.ask(port, "get", path, "", "").await?.0)
    }

    /// The code and the text of the answer. `token` and `body` may be empty.
    pub(crate) async fn ask(
        &self,
        port: u16,
        method: &str,
        path: &str,
        token: &str,
        body: &str,
    ) -> anyhow::Result<(u16, String)> {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!(
            "{} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            method.to_uppercase(),
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let text = String::from_utf8(answer)?;
        let (head, text) = text.split_once("\r\n\r\n").context("no HTTP answer")?;
        let code = head.get(9..12).and_then(|code| code.parse().ok()).context("no HTTP answer")?;
        Ok((code, text.to_owned()))
    }

    pub(crate) async fn server_seconds(&self) -> anyhow::Result<f64> {
        let read = "select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)";
        process::server_seconds(self.client.query_one(read, &[]).await?.get(0))
    }

    /// What the server takes for a statement, which is rolled back.
    pub(crate) async fn statement_ms(&self, text: &str, parameters: &str) -> anyhow::Result<f64> {
        let others = "(r.failures > 0 and r.destination_id <> all($4::bigint[])) is not true";
        let text = text.replace("{of_these}", others);
        let execute = if parameters.is_empty() { String::new() } else { format!("({parameters})") };
        let begin =
            format!("deallocate all; set offtake.lock = 'held'; begin; prepare s as {text}");
        self.client.batch_execute(&begin).await?;
        let began = Instant::now();
        self.client.batch_execute(&format!("execute s{execute}")).await?;
        let elapsed = began.elapsed().as_secs_f64() * 1000.0;
        self.client.batch_execute("rollback").await?;
        Ok(elapsed)
    }
}
