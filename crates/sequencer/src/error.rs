/// Why the sequencer could not tick. Every kind is retried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no connection to the source")]
    Connect(#[from] offtake_postgres::Error),
    #[error("a statement of the sequencer failed at the source")]
    Source(#[from] tokio_postgres::Error),
    #[error("another daemon has held the sequencer's lock for too long")]
    Locked,
}
