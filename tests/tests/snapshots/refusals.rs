//! Files in the store that are not as Offtake wrote them: nothing is dialled for them.

use offtake_tests::World;

use super::Snapshots;
use super::source_forged::forge;

/// A file that was replaced, cut or damaged is refused before the destination is connected to, and
/// nothing is written anywhere.
#[tokio::test]
async fn a_damaged_archive_reaches_no_database() {
    let mut snapshots =
        Snapshots::planned(World::with_tenants(["acme", "globex"]).proxied("acme")).await;
    let daemon = snapshots.world.daemon().await;
    snapshots.world.wait_in_step().await;
    daemon.stop().await;
    let (id, other) = (snapshots.make("acme").await, snapshots.make("globex").await);
    let acme = snapshots.world.tenant("acme");
    let good = std::fs::read(snapshots.archive(&id)).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 4;
    let damaged = [
        ("cut", good[..good.len() - 10].to_vec()),
        ("empty", Vec::new()),
        ("flipped", flipped),
        ("another one's", std::fs::read(snapshots.archive(&other)).unwrap()),
        ("longer", [&good[..], b"x"].concat()),
    ];
    acme.destination.execute("delete from items where id = 1").await;
    let dialled = acme.proxy().accepted();
    for (how, bytes) in damaged {
        std::fs::write(snapshots.archive(&id), bytes).unwrap();
        let restore = ["restore", &id, "--tenant", &acme.id, "--yes"];
        for command in [&restore[..], &["diff", &id, "--into", "main"], &["validate", &id]] {
            let refused = snapshots.run(command).await;
            assert_eq!(refused.code, 1, "{how}: {refused:?}");
            refused.assert_says(1, &["cannot be used", &id, "nothing was written anywhere"]);
        }
    }
    assert_eq!(acme.proxy().accepted(), dialled);
    // Nor is the source asked for anything: here it would not answer.
    let acme = acme.id.clone();
    std::fs::write(snapshots.archive(&id), &good[..good.len() - 10]).unwrap();
    let url = snapshots.world.source.url();
    snapshots.world.configure(|c| c["source"]["url"] = "postgres://x@127.0.0.1:1/x".into());
    for command in
        [&["restore", &id, "--tenant", &acme, "--yes"][..], &["diff", &id, "--into", "main"]]
    {
        snapshots.run(command).await.assert_says(1, &["cannot be used"]);
    }
    snapshots.world.configure(|c| c["source"]["url"] = url.into());
    std::fs::write(snapshots.archive(&id), good).unwrap();
    snapshots
        .run(&["restore", &id, "--tenant", &acme, "--yes"])
        .await
        .assert_says(0, &["to add 1"]);

    // The statements of an archive are for people. A restore runs none of them.
    forge(&snapshots, &id, |_, _, lines| lines);
    let restore = ["restore", &id, "--tenant", &acme, "--yes"];
    let there = &snapshots.world.tenant("acme").destination;
    there.execute("delete from items where id = 2").await;
    snapshots.run(&restore).await.assert_says(0, &["to add 1"]);
    let beside = [&restore[..], &["--schema", "beside"]].concat();
    snapshots.run(&beside).await.assert_says(0, &["restored 210 rows"]);
    let ran = "select count(*) from pg_class where relname = 'ran'";
    assert_eq!(there.query_text(ran).await, "0");
}
