//! `offtake demo`: the main job on throwaway servers, from an empty folder to verified copies.
//!
//! The sample application and its write load are public, because the tests run on the same.

mod load;
mod sql;

pub use load::{Load, Totals};
pub use sql::{INSERT_SAMPLE_ROWS, SAMPLE_APPLICATION};
