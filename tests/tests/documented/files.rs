//! What the pages about SQLite files and about copies that are made once say to type.

use offtake_tests::clusters::Clusters;
use offtake_tests::{Database, SqliteFile, World};

use crate::first_run::{bash, block, on_the_path};
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

#[tokio::test]
async fn a_table_is_copied_as_the_page_says() {
    let source = Database::create(&Clusters::shared().await.source, "page", None).await;
    source
        .execute(
            "create table orders (id int primary key, note text);
             insert into orders select n, 'note ' || n from generate_series(1, 100) n",
        )
        .await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let page = block("docs/copy.md", "offtake copy --validate");
    let script = page
        .replace("/srv/copies", &folder.display().to_string())
        .replace("postgres://app@127.0.0.1/app", &source.url());
    assert_eq!(page.matches("/srv/copies/app.db").count(), 3, "{page}");
    let output = bash(&folder, &on_the_path(&folder), &script).output().unwrap();
    let told = said(&output);
    assert!(output.status.success() && told.contains("complete"), "{told}");
    let copy = SqliteFile::new(folder.join("app.db"));
    let rows = copy.query_text("select count(*), max(note) from orders");
    assert_eq!(rows, "100|note 99");
}
