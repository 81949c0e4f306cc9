/// What the webhooks can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the source failed")]
    Source(#[source] offtake_postgres::Error),
    /// The query of a mapping failed; the others go on.
    #[error(transparent)]
    Reading(#[from] offtake_reading::Error),
}

impl Error {
    pub(crate) fn source(error: tokio_postgres::Error) -> Self {
        Self::Source(error.into())
    }
}
