//! Asking the operator before something is destroyed.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use crate::outcome::{Exit, Failure};

/// Fails where there is neither `--yes` nor a terminal to ask on. A command that works for a while
/// before it asks calls this first.
pub(super) fn require_answer(yes: bool, consequence: &str) -> Result<(), Failure> {
    if yes || std::io::stdin().is_terminal() {
        return Ok(());
    }
    let what = format!("{consequence}, and there is no terminal to ask on");
    Err(Failure::new(Exit::Usage, what).remedy("add --yes"))
}

/// Whether the operator agrees. Without a terminal to ask on, only `--yes` does.
pub(super) async fn confirmed(
    yes: bool,
    consequence: &str,
    question: &str,
) -> Result<bool, Failure> {
    require_answer(yes, consequence)?;
    if yes {
        return Ok(true);
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
