//! One finding of `offtake doctor`.

use std::fmt;

use offtake_mapping::foreign_within;
use serde::Serialize;

/// The worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    /// Copies are stale or will be wrong; look now.
    Critical,
    /// It hurts, or it will.
    Warning,
    /// Good to know.
    Note,
}

#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// A stable name for programs.
    pub(super) code: &'static str,
    /// What was found, and where.
    pub(super) what: String,
    /// What it does to Offtake, or to the application because of Offtake.
    pub(super) matters: &'static str,
    pub(super) remedy: String,
}

/// The longest line that is shown in full: a server may answer anything.
const TEXT_CHARACTERS_MAX: usize = 1000;

/// Three mistakes in files, each with its excerpt. They are indented, so that no answer of a server
/// looks like a finding.
const LINES_MAX: usize = 15;

impl Finding {
    pub(super) fn critical(
        code: &'static str,
        what: impl Into<String>,
        matters: &'static str,
        remedy: impl Into<String>,
    ) -> Self {
        let (what, remedy) = (what.into(), remedy.into());
        Self { severity: Severity::Critical, code, what, matters, remedy }
    }

    pub(super) fn warning(
        code: &'static str,
        what: impl Into<String>,
        matters: &'static str,
        remedy: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::critical(code, what, matters, remedy) }
    }

    pub(super) fn note(
        code: &'static str,
        what: impl Into<String>,
        matters: &'static str,
        remedy: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Note, ..Self::critical(code, what, matters, remedy) }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, code, what, matters, remedy } = self;
        let lines = what.lines().take(LINES_MAX);
        let what = lines.map(|line| foreign_within(line, TEXT_CHARACTERS_MAX));
        let what = what.collect::<Vec<_>>().join("\n            ");
        let remedy = foreign_within(remedy, TEXT_CHARACTERS_MAX);
        write!(f, "{severity:<8}  {code}: {what}\n  matters   {matters}\n  remedy    {remedy}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_keeps_its_lines_and_looks_like_no_finding() {
        let what = "users.yaml:2:1: a mistake\n 2 | x\n   | ^\nnote      forged: \u{1b}[31m";
        assert_eq!(
            Finding::critical("files", what, "nothing starts", "mend it").to_string(),
            "critical  files: users.yaml:2:1: a mistake\n             2 | x\n               | ^\n            \
             note      forged: \\u{1b}[31m\n  matters   nothing starts\n  remedy    mend it"
        );
    }
}
