//! Before anything is written: does this endpoint run a batch as one transaction?
//!
//! Everything here rests on it, and a documentation is no proof. A batch that makes a table and then
//! breaks a guard must leave nothing. That is tried once for each database and process. It also
//! shows whether the token may write.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use offtake_postgres::Fault;

use super::call::{Failed, Statement};
use super::{Session, Trouble, sqlite};

static PROVED: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

impl Session {
    pub(super) async fn prove(&self) -> Result<(), Trouble> {
        let fingerprint = self.database.fingerprint();
        if proved(|proved| proved.contains(&fingerprint)) {
            return Ok(());
        }
        let table = format!("_offtake_probe_{}", sqlite::state::write_id().replace('-', ""));
        let make =
            format!("create table \"{table}\" (x, constraint offtake_probe check (x is null))");
        let batch =
            [Statement::new(make), Statement::new(format!("insert into \"{table}\" values (1)"))];
        let ended = match self.run(&batch).await {
            Err(Failed::Guard(name)) => name == "probe",
            Err(Failed::Trouble(trouble)) => return Err(trouble),
            Ok(_) => false,
        };
        let left = "select count(*) from sqlite_schema where name = ?1";
        let left = Statement::returning(left, 1).with(table.as_str());
        let left = self.ask(&[left]).await?;
        let none = left[0].rows.first().is_some_and(|row| sqlite::Cells::number(row, 0) == 0);
        if ended && none {
            proved(|proved| proved.insert(fingerprint));
            return Ok(());
        }
        self.ask(&[Statement::new(format!("drop table if exists \"{table}\""))]).await?;
        let message = format!(
            "{} does not run a batch as one transaction, so rows and cursor could come apart; set \
             destinations.d1.endpoint to Cloudflare's API or to the Worker that comes with Offtake",
            self.database.host()
        );
        Err(Trouble::new(Fault::Fatal, None, message))
    }
}

fn proved<T>(with: impl FnOnce(&mut HashSet<String>) -> T) -> T {
    with(&mut PROVED.lock().unwrap_or_else(PoisonError::into_inner))
}
