//! One database of a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::BytesMut;
use futures_util::StreamExt as _;
use tokio::sync::Mutex;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::{PATIENCE, proxy, until};

/// A database created for one test and dropped with this value. Statements that fail panic with the
/// server's message.
pub struct Database {
    server: String,
    name: String,
    session: Mutex<Option<Arc<Client>>>,
    /// It is dropped with this value, and not with another one.
    ours: bool,
}

impl Database {
    /// A new database on the server of that URL; a copy of `template` if given. Takes about 50 ms.
    pub async fn create(server: &str, purpose: &str, template: Option<&str>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("{purpose}_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let template = template.map(|t| format!(" template {t}")).unwrap_or_default();
        let admin = connect(server).await;
        // An earlier process with our process number may have left its database behind.
        run(&admin, &format!("drop database if exists {name} with (force)")).await;
        run(&admin, &format!("create database {name}{template}")).await;
        Self { server: server.to_owned(), name, session: Mutex::default(), ours: true }
    }

    /// The same database; it is dropped with `self`.
    pub(crate) fn again(&self) -> Self {
        let (server, name) = (self.server.clone(), self.name.clone());
        Self { server, name, session: Mutex::default(), ours: false }
    }

    /// How the superuser connects; also fit for a destination's `url`.
    pub fn url(&self) -> String {
        on_database(&self.server, &self.name)
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A new session, for transactions and prepared statements.
    pub async fn connect(&self) -> Client {
        connect(&self.url()).await
    }

    /// The session that [`Self::execute`] uses; a new one if the last one was lost.
    pub async fn session(&self) -> Arc<Client> {
        let mut session = self.session.lock().await;
        match session.as_ref().filter(|client| !client.is_closed()) {
            Some(client) => client.clone(),
            None => session.insert(Arc::new(self.connect().await)).clone(),
        }
    }

    /// Runs statements. Without BEGIN in them, all run in one transaction.
    pub async fn execute(&self, sql: &str) {
        run(&*self.session().await, sql).await;
    }

    /// The rows as `psql -At` prints them: one line per row, columns separated by `|`, null as
    /// empty text.
    pub async fn query_text(&self, sql: &str) -> String {
        self.try_query_text(sql).await.unwrap_or_else(|error| panic!("{sql}\n  {error}"))
    }

    /// Like [`Self::query_text`], with the server's message as the error. A server that is down is
    /// an error too.
    pub async fn try_query_text(&self, sql: &str) -> Result<String, String> {
        let mut session = self.session.lock().await;
        let client = match session.as_ref().filter(|client| !client.is_closed()) {
            Some(client) => client.clone(),
            None => session.insert(Arc::new(try_connect(&self.url()).await?)).clone(),
        };
        drop(session);
        let messages = client.simple_query(sql).await.map_err(|e| explain(&e))?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(
                (0..row.len())
                    .map(|column| row.get(column).unwrap_or_default())
                    .collect::<Vec<_>>()
                    .join("|"),
            ),
            _ => None,
        });
        Ok(rows.collect::<Vec<_>>().join("\n"))
    }

    /// Waits until the query returns this text, as [`Self::query_text`] does. A server that is down
    /// is waited for too.
    pub async fn wait_text(&self, sql: &str, wanted: &str) {
        until(&format!("{sql} says {wanted}"), PATIENCE, async || {
            match self.try_query_text(sql).await? {
                found if found == wanted => Ok(()),
                found => Err(found),
            }
        })
        .await;
    }

    /// Waits until no session of a daemon is left in this database: a server process may outlive
    /// its daemon, or its last use, for a moment.
    pub async fn wait_left(&self) {
        const SESSIONS: &str = "select count(*) from pg_stat_activity where datname = current_database() and application_name like 'offtake%'";
        until("no session of a daemon is left", PATIENCE, async || {
            match self.try_query_text(SESSIONS).await?.as_str() {
                "0" => Ok(()),
                sessions => Err(format!("{sessions} sessions")),
            }
        })
        .await;
    }

    /// Makes the server ask this role for its password; the role must have one. Only for a private
    /// server of the test, because the rule applies to the whole server.
    pub async fn ask_for_password(&self, role: &str) {
        let file = self.query_text("show hba_file").await;
        let rules = std::fs::read_to_string(&file).expect("the server's rules can be read");
        std::fs::write(&file, format!("host all {role} 127.0.0.1/32 scram-sha-256\n{rules}"))
            .expect("they can be written");
        self.query_text("select pg_reload_conf()").await;
        // The server reads the rules a moment later, and sessions that are already open stay open.
        let (_, after, server) = proxy::split(&self.server);
        let wrong = format!("postgres://{role}:wrong@{server}{after}");
        until(
            "the server asks for the password",
            PATIENCE,
            async || match tokio_postgres::connect(&wrong, NoTls).await {
                Err(error) if error.code() == Some(&SqlState::INVALID_PASSWORD) => Ok(()),
                Err(error) => Err(explain(&error)),
                Ok(_) => Err("it lets everybody in".to_owned()),
            },
        )
        .await;
    }

    /// The query's rows in COPY's text format, one string each, with the settings under which
    /// Offtake writes text.
    pub async fn copy_out(&self, query: &str) -> Vec<String> {
        copy_out(&mut self.connect().await, query).await
    }
}

/// [`Database::copy_out`] in a session that is there.
pub(crate) async fn copy_out(client: &mut Client, query: &str) -> Vec<String> {
    let transaction = client.transaction().await.expect("begin");
    transaction.batch_execute(offtake_postgres::TEXT_FORMAT).await.expect("the text settings");
    let copy = format!("copy ({query}\n) to stdout");
    let stream =
        transaction.copy_out(&copy).await.unwrap_or_else(|e| panic!("{copy}\n  {}", explain(&e)));
    let chunks: Vec<_> = std::pin::pin!(stream).collect().await;
    let mut bytes = BytesMut::new();
    for chunk in chunks {
        bytes.extend_from_slice(&chunk.unwrap_or_else(|e| panic!("{copy}\n  {}", explain(&e))));
    }
    String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
}

impl Drop for Database {
    fn drop(&mut self) {
        if !self.ours {
            return;
        }
        let (server, drop) =
            (self.server.clone(), format!("drop database if exists {} with (force)", self.name));
        // In a thread, because a test's runtime cannot wait for a future inside a destructor.
        // Errors are ignored: if the test has stopped the server, the database goes with it.
        let _ = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(async {
                try_connect(&server).await.ok()?.batch_execute(&drop).await.ok()
            })
        })
        .join();
    }
}

/// The URL of another database on the same server.
pub(crate) fn on_database(url: &str, name: &str) -> String {
    let (server, parameters) = url.split_once('?').unwrap_or((url, ""));
    let (server, _) = server.rsplit_once('/').expect("a URL names a database");
    format!("{server}/{name}?{parameters}")
}

pub(crate) async fn try_connect(url: &str) -> Result<Client, String> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.map_err(|e| explain(&e))?;
    tokio::spawn(connection);
    Ok(client)
}

pub(crate) async fn connect(url: &str) -> Client {
    try_connect(url).await.unwrap_or_else(|error| panic!("cannot connect to {url}: {error}"))
}

pub(crate) async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}\n  {}", explain(&error)));
}

/// The server's own message, which the error's Display leaves out.
pub(crate) fn explain(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => {
            format!("{}: {} {}", db.code().code(), db.message(), db.detail().unwrap_or_default())
        }
        None => {
            format!("{error} ({:?})", std::error::Error::source(error).map(ToString::to_string))
        }
    }
}
