//! `offtake health`.

use std::time::Duration;

use clap::Args;

pub(super) const HEALTH: &str = "Examples:\n  offtake health\n  \
                                 offtake health --live --url http://127.0.0.1:8081\n\n\
                                 Exit codes: 0 it works, 1 it does not, 69 it does not answer.";

#[derive(Debug, Args)]
pub struct Health {
    /// Ask only whether the process works, and not whether all its loops do. For what restarts a
    /// process that is not healthy: a source that is down is no reason for that.
    #[arg(long)]
    pub live: bool,
    /// Where the daemon's probes are. Without it, where the configuration file says.
    #[arg(long, value_name = "URL", value_parser = place)]
    pub url: Option<String>,
    /// Wait at most this long for the answer.
    #[arg(long, value_name = "DURATION", value_parser = super::duration, default_value = "5s")]
    pub timeout: Duration,
    #[arg(long, help = super::JSON)]
    pub json: bool,
}

/// Host and port of `http://HOST:PORT`.
fn place(url: &str) -> Result<String, String> {
    let place = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let port = |place: &&str| place.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_ok());
    let place = place.filter(port).filter(|place| !place.contains(['/', '@', '?']));
    place.map(str::to_owned).ok_or_else(|| "write http://HOST:PORT".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_host_and_a_port() {
        assert_eq!(place("http://127.0.0.1:8080").as_deref(), Ok("127.0.0.1:8080"));
        assert_eq!(place("http://[::1]:8081/").as_deref(), Ok("[::1]:8081"));
        for refused in ["https://a:1", "http://a", "a:1", "http://a:1/readyz", "http://u@a:1"] {
            assert!(place(refused).is_err(), "{refused}");
        }
    }
}
