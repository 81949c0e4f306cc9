//! What goes beside the program: completions for shells, manual pages, and alerts.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct Completions {
    /// The shell that is to complete commands.
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct Manual {
    /// An existing folder. A file of the same name in it is overwritten.
    pub folder: PathBuf,
}

#[derive(Debug, Args)]
pub struct Alerts {
    /// Where operators on call read the page about the alerts. Each alert links to its heading
    /// there.
    #[arg(long, value_name = "URL", value_parser = address_of_a_page)]
    pub runbooks: String,
    /// Print a PrometheusRule, for the Prometheus operator.
    #[arg(long)]
    pub kubernetes: bool,
}

/// The address stands in YAML and in templates of Prometheus, which must not read anything in it.
fn address_of_a_page(text: &str) -> Result<String, String> {
    let begins = ["https://", "http://"].iter().any(|scheme| {
        text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
    });
    let allowed = |c: char| c.is_ascii_graphic() && !"#\"'`{}<>\\".contains(c);
    if begins && text.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    Err("write the address of a page, such as https://wiki.example.com/offtake-alerts, without \
         the `#` of a heading"
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runbooks_are_addresses_of_pages() {
        let accepted = |text: &str| address_of_a_page(text).is_ok();
        assert!(accepted("https://wiki.example.com/offtake-alerts"));
        assert!(accepted("http://[::1]:8080/alerts?page=1&part=2"));
        let refused = [
            "docs/alerts.md",
            "https://",
            "https:///alerts",
            "ftp://wiki.example.com/alerts",
            "https://wiki.example.com/alerts#offtakedown",
            "https://wiki.example.com/{{ .Value }}",
            "https://wiki.example.com/a page",
            "https://wiki.example.com/\nlabels:",
        ];
        for text in refused {
            assert!(!accepted(text), "{text}");
        }
    }
}
