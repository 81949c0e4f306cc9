//! `offtake demo`: the main job on throwaway servers, from an empty folder to verified copies.
//!
//! The sample application and its write load are public, because the tests run on the same.

mod sql;

pub use sql::{INSERT_SAMPLE_ROWS, SAMPLE_APPLICATION};
