//! What the page about SQLite files says to type, over a file that the daemon keeps.

use offtake_tests::World;

use crate::first_run::{bash, block};
use crate::{installed, said};

/// The first line while the daemon is at work, the second when no `-wal` is there any more.
#[tokio::test]
async fn a_copy_in_a_file_is_read_as_the_page_says() {
    if !installed("sqlite3") {
        return;
    }
    let world = World::with_tenants(["acme"]).in_files().await;
    world.fill(20).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let file = world.tenant("acme").file();
    let users = file.query_text("select count(*) from users");
    let page = block("docs/destinations.md", "sqlite3 /srv/copies/acme.db");
    let script = page.replace("/srv/copies/acme.db", &file.path().display().to_string());
    let path = std::env::var("PATH").unwrap();
    let lines: Vec<&str> = script.lines().collect();
    assert!(lines.len() == 2 && lines[1].contains("immutable=1"), "{script}");
    let read = |line: &str| {
        let output = bash(world.folder(), &path, line).output().unwrap();
        assert!(output.status.success(), "{line}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(read(lines[0]), users);
    daemon.stop().await;
    assert_eq!(read(lines[1]), users);
    assert_ne!(users, "0");
}
