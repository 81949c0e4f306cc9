//! Receivers whose names a DNS server of the tenant's own answers, as it likes.

use std::net::Ipv4Addr;

use offtake_tests::names::Names;
use offtake_tests::receiver::{Play, Receiver};
use offtake_tests::{PATIENCE, World, until};
use serde_json::json;

use super::told::{daemon_with_webhooks, insert_user};

const NAME: &str = "hook.receiver.example";

/// The only address that `security.allow_destinations` lists, and another one of this machine.
const LISTED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const UNLISTED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A webhook at [`NAME`], with a receiver at each address; None where no test can have a DNS server.
async fn rebinding() -> Option<(World, Names, [Receiver; 2])> {
    let names = Names::start().await?;
    let mut world = World::with_tenants(["acme"]).await;
    let listed = Receiver::start().await;
    let unlisted = listed.start_beside(&UNLISTED.to_string()).await;
    // No connection is used twice, so each request looks the name up.
    listed.play(|_| Play::Answer(200, "connection: close", ""));
    world.add_webhook_at("acme", &listed.url_at("http", NAME), json!({ "mappings": ["users"] }));
    world.configure(|configuration| {
        configuration["security"]["allow_destinations"] = json!([format!("{LISTED}/32")]);
        configuration["destinations"]["static"] = json!([]);
        // So soon a refused name is looked up again.
        configuration["webhooks"]["refresh"] = "200ms".into();
    });
    world.allow("webhook_unwell");
    world.ask_for_names(&names);
    Some((world, names, [listed, unlisted]))
}

/// One address among several that may not be dialled is an attack or a mistake: none is dialled.
#[tokio::test]
async fn a_name_with_one_address_that_is_not_listed_is_not_dialled() {
    let Some((world, names, [listed, unlisted])) = rebinding().await else { return };
    names.answer(|_| vec![LISTED, UNLISTED]);
    let daemon = daemon_with_webhooks(&world).await;
    insert_user(&world, "Ann").await;
    let says = [NAME, "127.0.0.2", "allow_destinations"];
    world.wait_webhook(&daemon, "acme", "blocked", &says).await;
    let looks = names.looks();
    until("it was looked up twice more", PATIENCE, async || match names.looks() {
        found if found >= looks + 2 => Ok(()),
        found => Err(format!("{found} looks, and {looks} before")),
    })
    .await;
    assert_eq!((listed.connections(), unlisted.connections()), (0, 0));
    // No attempt at the receiver is counted.
    assert_eq!(world.source.query_text("select failed from offtake.webhook").await, "0");
    // The answer becomes another one, and what waited is told.
    names.answer(|_| vec![LISTED]);
    listed.wait_requests(1).await;
    world.wait_webhook(&daemon, "acme", "in_sync", &[]).await;
    assert_eq!(unlisted.connections(), 0);
    listed.assert_content();
    daemon.stop().await;
}

/// What is dialled is the address that was checked. A second look between the check and the dial
/// would get the other answer.
#[tokio::test]
async fn a_name_whose_answer_changes_at_each_look_leads_nowhere_else() {
    let Some((world, names, [listed, unlisted])) = rebinding().await else { return };
    names.answer(|look| vec![if look % 2 == 1 { LISTED } else { UNLISTED }]);
    let daemon = daemon_with_webhooks(&world).await;
    for number in 1..=4 {
        insert_user(&world, &format!("user {number}")).await;
        listed.wait_requests(number).await;
    }
    world.wait_webhook(&daemon, "acme", "in_sync", &[]).await;
    assert_eq!((listed.requests().len(), unlisted.connections()), (4, 0));
    // One look for each request, and one for each refusal between them.
    assert!(names.looks() >= 7, "{} looks", names.looks());
    listed.assert_content();
    daemon.stop().await;
}
