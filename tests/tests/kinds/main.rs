//! What every kind of destination must do: one suite, run for each of them. A new kind is one line
//! in [`kinds!`] and one variant of [`CopyKind`].
//!
//! What only one kind can do has tests of its own (`sqlite_files/`), and so has what a Postgres
//! destination is tried with in more depth (`crashes.rs`, `histories.rs`, `poison.rs`).

#![allow(clippy::unwrap_used)]

mod arrivals;
mod crashes;
mod refusals;

use offtake_tests::items::{filled, with_items, write};
use offtake_tests::{CopyKind, Plan, World};

macro_rules! kinds {
    ($($name:ident: $kind:expr;)+) => { $(
        mod $name {
            #[tokio::test]
            async fn copies_follow_and_verify_finds_one_changed_value() {
                if $kind.installed() {
                    crate::arrivals::follow_and_are_verified($kind).await;
                }
            }

            #[tokio::test]
            async fn a_re_copy_has_no_empty_moment() {
                if $kind.installed() {
                    crate::arrivals::are_copied_again($kind).await;
                }
            }

            #[tokio::test]
            async fn a_refused_row_is_set_aside_and_heals() {
                if $kind.installed() {
                    crate::refusals::are_set_aside($kind).await;
                }
            }

            #[tokio::test]
            async fn a_daemon_killed_at_any_point_of_a_write_loses_and_repeats_nothing() {
                if $kind.installed() {
                    crate::crashes::at_any_point($kind).await;
                }
            }

            #[tokio::test]
            async fn copies_survive_daemons_killed_at_any_moment_for_long() {
                if $kind.installed() {
                    crate::crashes::for_long($kind).await;
                }
            }

            #[tokio::test]
            async fn kill_9_between_rows_and_cursor_moves_both_or_neither() {
                if $kind.installed() {
                    crate::crashes::between_rows_and_cursor($kind).await;
                }
            }
        }
    )+ };
}

kinds! {
    postgres: offtake_tests::CopyKind::Postgres;
    sqlite: offtake_tests::CopyKind::Sqlite;
    d1: offtake_tests::CopyKind::D1;
}

/// Tenants with their rows at the source. No daemon runs.
async fn world(kind: CopyKind, tenants: &[&str]) -> World {
    filled(plan(kind, tenants)).await
}

fn plan(kind: CopyKind, tenants: &[&str]) -> Plan {
    with_items(World::with_tenants(tenants.iter().copied()).of_kind(kind))
}
