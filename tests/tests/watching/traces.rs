//! Traces are sent to a collector by OTLP, as the protocol says.

use offtake_tests::collector::{Collector, texts};
use offtake_tests::{PATIENCE, World, until};
use opentelemetry_proto::tonic::trace::v1::{Span, status};
use serde_json::json;

/// The names of the spans inside of this one. Each lasts no longer than it.
fn inside(spans: &[Span], turn: &Span) -> Vec<String> {
    let children = spans.iter().filter(|span| span.parent_span_id == turn.span_id);
    let mut names = Vec::new();
    for child in children {
        assert_eq!(child.trace_id, turn.trace_id);
        assert!(child.start_time_unix_nano >= turn.start_time_unix_nano, "{child:?} of {turn:?}");
        assert!(child.end_time_unix_nano <= turn.end_time_unix_nano, "{child:?} of {turn:?}");
        names.push(child.name.clone());
    }
    names.sort();
    names
}

#[tokio::test]
async fn a_turn_is_a_span_with_its_stages() {
    let mut world = World::with_tenants(["acme", "globex"])
        .setting("/sync/retry", json!({ "initial": "50ms", "max": "300ms" }))
        .await;
    let collector = Collector::default();
    let endpoint = collector.listen().await;
    world.configure(|c| c["telemetry"]["otlp_endpoint"] = endpoint.into());
    world.reach_by("globex", |url| url.replace("/destination", "/nowhere"));
    world.allow("destination_failed");
    let daemon = world.daemon().await;
    let acme = ["acme"];
    world.wait_tenants_in_step(&acme, PATIENCE).await;
    world.fill(10).await;
    world.wait_tenants_in_step(&acme, PATIENCE).await;
    let (acme, globex) = (world.id("acme").to_owned(), world.id("globex").to_owned());
    until("a turn that wrote and one that failed are told", PATIENCE, async || {
        let spans = collector.spans();
        let turns = || spans.iter().filter(|span| span.name == "sync");
        let of = |span: &Span, tenant: &str| {
            texts(&span.attributes).get("offtake.tenant").is_some_and(|id| id == tenant)
        };
        let wrote = turns().filter(|turn| of(turn, &acme)).any(|turn| {
            let stages = inside(&spans, turn);
            ["apply", "claim", "fetch", "mirror"]
                .iter()
                .all(|stage| stages.iter().any(|s| s == stage))
        });
        let failed = turns().filter(|turn| of(turn, &globex)).any(|turn| {
            turn.status.as_ref().is_some_and(|s| {
                s.code() == status::StatusCode::Error && s.message.contains("does not exist")
            })
        });
        if wrote && failed {
            Ok(())
        } else {
            Err(format!("{wrote} {failed} in {} spans", spans.len()))
        }
    })
    .await;
    let resource = collector.resource();
    assert_eq!(resource["service.name"], "offtake");
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));

    // What is left is sent at the end.
    let before = collector.spans().len();
    world.source.execute("update project_user set display_name = display_name || '!'").await;
    world.wait_tenants_in_step(&["acme"], PATIENCE).await;
    daemon.stop().await;
    assert!(collector.spans().len() > before);
}

/// A collector that is away costs nothing but its traces.
#[tokio::test]
async fn a_collector_that_is_away_delays_nothing_and_is_told_once() {
    let world = World::with_tenants(["acme"])
        .setting("/telemetry/otlp_endpoint", "http://127.0.0.1:1")
        .await;
    world.allow("traces_lost");
    let daemon = world.daemon().await;
    world.fill(5).await;
    world.wait_in_step().await;
    daemon.wait_logged("traces_lost").await;
    world.source.execute("update project_user set display_name = display_name || '!'").await;
    world.wait_in_step().await;
    let log = daemon.stop().await;
    assert_eq!(log.iter().filter(|line| line.event == "traces_lost").count(), 1);
}
