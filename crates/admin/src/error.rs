/// Why the HTTP side cannot start, or cannot answer one request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("refusing to listen on {address} without a token")]
    TokenRequired { address: std::net::SocketAddr },
    #[error("cannot listen")]
    Listen(#[source] std::io::Error),
    #[error("cannot read the status from the source")]
    Source(#[from] offtake_postgres::Error),
    /// A row of our own tables has an unknown form: most likely a newer version wrote it.
    #[error("cannot understand the registry")]
    Registry(#[from] serde_json::Error),
    #[error("cannot install the metrics recorder: another one is installed")]
    Recorder,
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Source(error.into())
    }
}

impl Error {
    /// What the operator can do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TokenRequired { .. } => {
                Some("set http.admin_token or http.read_token, or listen on a loopback address")
            }
            Self::Registry(_) => Some("run the version of offtake that last ran `offtake init`"),
            Self::Source(e)
                if e.sqlstate() == Some(&offtake_postgres::SqlState::UNDEFINED_TABLE) =>
            {
                Some("run `offtake init` first")
            }
            _ => None,
        }
    }
}
