//! Before anything is written: does this endpoint run a batch as one transaction?
//!
//! Everything here rests on it, and a documentation is no proof. A batch that writes a row and then
//! breaks a guard must leave nothing. That is tried once for each database and process.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use offtake_postgres::Fault;

use super::call::{Failed, Statement};
use super::{Session, Trouble, sql, sqlite};

static PROVED: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

impl Session {
    pub(super) async fn prove(&self) -> Result<(), Trouble> {
        let fingerprint = self.database.fingerprint();
        if proved(|proved| proved.contains(&fingerprint)) {
            return Ok(());
        }
        let nonce = sqlite::state::write_id();
        let marker = "insert into \"_offtake_refused\" values ('', '', ?1, 0)";
        let batch = [Statement::new(marker).with(nonce.as_str()), Statement::new(sql::PROBE)];
        let ended = match self.run(&batch).await {
            Err(Failed::Guard(name)) => name == "probe",
            Err(Failed::Trouble(trouble)) => return Err(trouble),
            Ok(_) => false,
        };
        let left = "select count(*) from \"_offtake_refused\" where write_id = ?1";
        let left = Statement::returning(left, 1).with(nonce.as_str());
        let left = self.ask(&[left]).await?;
        let none = left[0].rows.first().is_some_and(|row| sqlite::Cells::number(row, 0) == 0);
        if ended && none {
            proved(|proved| proved.insert(fingerprint));
            return Ok(());
        }
        let clear = "delete from \"_offtake_refused\" where write_id = ?1";
        self.ask(&[Statement::new(clear).with(nonce)]).await?;
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
