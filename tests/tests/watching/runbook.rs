//! `docs/alerts.md` as whoever is woken reads it: what a test does about an alert is what stands
//! under the alert's heading.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::read;

pub(crate) struct Runbook {
    page: String,
    followed: RefCell<BTreeSet<String>>,
}

impl Runbook {
    pub(crate) fn read() -> Self {
        Self { page: read("docs/alerts.md"), followed: RefCell::default() }
    }

    /// What the test is going to do about this alert, in the page's own words.
    pub(crate) fn follow(&self, alert: &str, words: &str) {
        let heading = format!("\n## {alert}\n");
        let (_, section) = self.page.split_once(&heading).expect("the alert has a heading");
        let section = section.split("\n## ").next().unwrap_or_default();
        let section = section.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(section.contains(words), "{alert} does not say: {words}\n{section}");
        self.followed.borrow_mut().insert(alert.to_owned());
    }

    /// The arguments of a command that stands under this alert's heading, with its placeholders
    /// replaced.
    pub(crate) fn command<'t>(
        &self,
        alert: &str,
        command: &'t str,
        values: &[(&str, &'t str)],
    ) -> Vec<&'t str> {
        self.follow(alert, &format!("`{command}`"));
        let words = command.split(' ').skip(1);
        let value = |word: &str| values.iter().find(|(name, _)| *name == word);
        words.map(|word| value(word).map_or(word, |(_, value)| *value)).collect()
    }

    /// The alerts whose text was followed so far.
    pub(crate) fn followed(&self) -> BTreeSet<String> {
        self.followed.borrow().clone()
    }
}
