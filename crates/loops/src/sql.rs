//! The statements of the fuses.

pub(crate) const READ_BLOWN_FUSES: &str = include_str!("../sql/read_blown_fuses.sql");
pub(crate) const HEAL_FUSES: &str = include_str!("../sql/heal_fuses.sql");
pub(crate) const SET_FUSE: &str = include_str!("../sql/set_fuse.sql");
