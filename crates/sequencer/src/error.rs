/// Why the sequencer could not tick. Every kind is worth another try.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no connection to the source")]
    Connect(#[from] offtake_postgres::Error),
    #[error("a statement of the sequencer failed at the source")]
    Source(#[from] tokio_postgres::Error),
    #[error("another daemon has the sequencer's lock for long")]
    Locked,
}
