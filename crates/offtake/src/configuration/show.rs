//! The effective configuration as YAML, without its secrets.

use serde_yaml::{Mapping, Value};

use super::{Configuration, StaticDestination, show_duration};

/// What stands in place of a secret.
const MASK: &str = "***";

impl Configuration {
    /// Every setting with its effective value; passwords and tokens are masked.
    pub fn masked(&self) -> Value {
        let text = |t: &dyn ToString| Value::from(t.to_string());
        let token =
            |t: &Option<secrecy::SecretString>| Value::from(if t.is_some() { MASK } else { "" });
        let (sync, http) = (&self.sync, &self.http);
        let destinations = &self.destinations;
        section([
            ("source", section([("url", text(&self.source.url))])),
            ("mappings", text(&self.mappings.display())),
            (
                "destinations",
                section([
                    (
                        "static",
                        destinations.static_.iter().map(StaticDestination::masked).collect(),
                    ),
                    (
                        "query",
                        destinations
                            .query
                            .as_deref()
                            .map_or(Value::Null, |query| masked_query(query).into()),
                    ),
                    ("refresh", show_duration(destinations.refresh).into()),
                ]),
            ),
            (
                "sequencer",
                section([
                    ("interval", show_duration(self.sequencer.interval).into()),
                    ("batch_rows", self.sequencer.batch_rows.into()),
                ]),
            ),
            (
                "poller",
                section([
                    ("interval", show_duration(self.poller.interval).into()),
                    ("lease", show_duration(self.poller.lease).into()),
                    ("claim_limit", self.poller.claim_limit.into()),
                ]),
            ),
            (
                "sync",
                section([
                    ("workers", sync.workers.into()),
                    ("batch_rows", sync.batch_rows.into()),
                    ("batch_bytes", text(&sync.batch_bytes)),
                    ("connect_timeout", show_duration(sync.connect_timeout).into()),
                    ("statement_timeout", show_duration(sync.statement_timeout).into()),
                    (
                        "retry",
                        section([
                            ("initial", show_duration(sync.retry.initial).into()),
                            ("max", show_duration(sync.retry.max).into()),
                        ]),
                    ),
                ]),
            ),
            ("retention", section([("changes", show_duration(self.retention.changes).into())])),
            (
                "http",
                section([
                    ("listen", text(&http.listen)),
                    ("admin_token", token(&http.admin_token)),
                    ("read_token", token(&http.read_token)),
                ]),
            ),
            (
                "security",
                section([(
                    "allow_destinations",
                    self.security.allow_destinations.iter().map(|n| text(n)).collect(),
                )]),
            ),
        ])
    }
}

impl StaticDestination {
    fn masked(&self) -> Value {
        let mut entries = vec![
            ("tenant", Value::from(self.tenant.as_str())),
            ("name", self.name.as_str().into()),
            ("url", self.url.to_string().into()),
            ("schema", self.schema.as_str().into()),
            ("shared", self.shared.into()),
        ];
        entries
            .extend(self.url.ca_file().map(|path| ("ca_file", path.display().to_string().into())));
        entries.extend(self.mappings.as_ref().map(|names| ("mappings", names.clone().into())));
        section(entries)
    }
}

fn section(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Mapping(
        entries.into_iter().map(|(key, value)| (Value::from(key), value)).collect::<Mapping>(),
    )
}

/// A query may spell a password out in a URL. And what is shown reads back: a dollar sign is
/// written twice.
fn masked_query(query: &str) -> String {
    let mut shown = String::new();
    let mut rest = query;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        shown.push_str(before);
        let end =
            after.find(|c: char| c.is_whitespace() || c == '\'' || c == '"').unwrap_or(after.len());
        let (url, following) = after.split_at(end);
        match url.rsplit_once('@') {
            Some((login, place)) => {
                let user = login.split(':').next().unwrap_or_default();
                shown.push_str(&format!("{user}:{MASK}@{place}"));
            }
            None => shown.push_str(url),
        }
        rest = following;
    }
    (shown + rest).replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_the_query_is_masked() {
        let check = |query: &str, expect: &str| assert_eq!(masked_query(query), expect);
        check("select 1", "select 1");
        check(
            "select 'postgres://u:p@ss@h/d' as url, $1",
            "select 'postgres://u:***@h/d' as url, $$1",
        );
        check("select 'postgres://' || host", "select 'postgres://' || host");
    }
}
