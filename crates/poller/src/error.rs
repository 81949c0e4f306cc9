/// Why the poller could not poll. Every kind is retried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no connection to the source")]
    Connect(#[from] offtake_postgres::Error),
    #[error("a statement of the poller failed at the source")]
    Source(#[from] tokio_postgres::Error),
}
