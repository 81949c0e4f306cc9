//! Throwaway PostgreSQL servers for `offtake demo` and the tests, started from the installed
//! binaries.
//!
//! A server lives in one temporary folder. Dropping its [`PrivateServer`] stops it and removes the
//! folder. If the owner crashed, [`sweep`] removes both at the next start. It finds them by the
//! marker file in the folder and the process numbers in it, never by a process's name.
//!
//! initdb and postgres refuse to run as root, so root starts them as `postgres`, or `nobody` where
//! that user does not exist. The servers listen on 127.0.0.1 only, on a port the kernel chose, and
//! have a process group of their own, so that a Ctrl-C in the terminal reaches their owner first.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod binaries;
mod folder;
mod port;
mod process;
mod start;
mod sweep;
mod user;

pub use binaries::{Binaries, NotInstalled};
pub use port::ReservedPort;
pub use start::PrivateServer;
pub use sweep::sweep;

/// The superuser of every private server.
pub const SUPERUSER: &str = "postgres";

/// How a private server is set up.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// With a password, clients authenticate by SCRAM. Without one, the server lets in every
    /// process of this machine, which is quicker and safe where no other user has an account.
    pub password: Option<String>,
    /// Whether commits wait for the disk. If not, a crash of the machine loses the cluster; the
    /// next sweep removes it anyway.
    pub durable: bool,
    /// More lines for `postgresql.conf`, as name and value; later ones win.
    pub settings: Vec<(String, String)>,
}

impl Options {
    /// A password that cannot be guessed: 32 random letters and digits.
    pub fn with_random_password(mut self) -> Self {
        use rand::Rng as _;
        self.password = Some(
            rand::rng().sample_iter(rand::distr::Alphanumeric).take(32).map(char::from).collect(),
        );
        self
    }

    /// Adds one line to `postgresql.conf`.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}
