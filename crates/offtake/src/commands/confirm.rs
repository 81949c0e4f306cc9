//! Asking the operator before something is destroyed.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use crate::outcome::{Exit, Failure};

/// Whether the operator agrees. Without a terminal to ask on, only `--yes` does.
pub(super) async fn confirmed(
    yes: bool,
    consequence: &str,
    question: &str,
) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(
            Exit::Usage,
            format!("{consequence}, and there is no terminal to ask on"),
        )
        .remedy("add --yes"));
    }
    let question = format!("{question} [y/N] ");
    let answer = tokio::task::spawn_blocking(move || {
        let _ = write!(std::io::stderr(), "{question}");
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map(|_| answer)
    });
    Ok(answer
        .await
        .is_ok_and(|read| read.is_ok_and(|answer| matches!(answer.trim(), "y" | "Y" | "yes"))))
}
