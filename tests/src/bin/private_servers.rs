//! The process that owns the clusters of a test run; see `offtake_tests::clusters`.

use offtake_tests::clusters::MeetingPoint;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    MeetingPoint::of_this_build().own().await
}
