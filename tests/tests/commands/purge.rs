//! `offtake forget --purge` in databases of every form, and killed in its midst: what it left is
//! deleted by the next run, and nothing else is.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use offtake_tests::printed::{between, remedy};
use offtake_tests::{Database, Source, World, binary};
use serde_json::json;

use super::forget::{kept, leave, shared_rows, wait_in_sync, world};
use super::offtake;

/// A `forget --purge` of the tenant's only destination.
struct Purge {
    tenant: String,
    /// With the destination's URL.
    file: PathBuf,
}

impl Purge {
    fn of(world: &World, tenant: &str, there: &Database) -> Self {
        let file = world.folder().join(format!("url of {tenant}"));
        std::fs::write(&file, there.url()).unwrap();
        Self { tenant: world.id(tenant).to_owned(), file }
    }

    fn arguments(&self) -> Vec<&str> {
        let file = self.file.to_str().unwrap();
        vec!["forget", "--tenant", &self.tenant, "--purge", "--yes", "--url-file", file]
    }

    /// Runs it to its end, which must be good. Standard output.
    async fn run(&self, world: &World) -> String {
        let (code, said, told) = offtake(world, &self.arguments()).await;
        assert_eq!(code, 0, "{said}{told}");
        said
    }

    /// Starts it. The configuration is that of the commands before.
    fn spawn(&self, world: &World) -> Child {
        let files = std::fs::read_dir(world.folder()).unwrap().map(|entry| entry.unwrap().path());
        let yaml = |path: &PathBuf| path.extension().is_some_and(|e| e == "yaml");
        let configuration = files.into_iter().find(yaml).unwrap();
        let mut command = Command::new(binary("offtake"));
        command.arg("--config").arg(configuration).args(self.arguments());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }
}

/// Waits until the command waits for a lock in that database, and kills it. The server goes on with
/// the statement until it notices that the command is gone.
async fn kill_where_it_waits(mut command: Child, database: &Database) {
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() \
                   and application_name = 'offtake forget' and wait_event_type = 'Lock'";
    database.wait_text(waiting, "1").await;
    command.kill().unwrap();
    command.wait().unwrap();
}

/// Waits until the server has noticed it.
async fn wait_noticed(database: &Database) {
    let sessions = "select count(*) from pg_stat_activity \
                    where datname = current_database() and application_name = 'offtake forget'";
    database.wait_text(sessions, "0").await;
}

/// Where the command stands still: whether that is at the source, and what holds it up there.
const STOPS: [(bool, &str); 5] = [
    // It counts, and has changed nothing.
    (false, "lock table users"),
    // The registry has noted that the destination is being forgotten.
    (false, "select from _offtake_state for update"),
    // The cursors are gone, and the rows are not.
    (false, "lock table teams in row exclusive mode; select from teams for update"),
    // So are most of the rows: a large table is cleared range by range.
    (false, "select from users where ctid = (select max(ctid) from users) for update"),
    // Everything is gone but what the registry keeps.
    (true, "select from offtake.destination_mapping for update"),
];

#[tokio::test]
async fn a_purge_that_is_killed_anywhere_is_ended_by_the_next() {
    for (at, (at_source, stop)) in STOPS.into_iter().enumerate() {
        let (world, _shared) = world().await;
        let acme = world.id("acme").to_owned();
        // More than the blocks that one transaction clears.
        let many = format!(
            "insert into project_user (tenancy_id, project_user_id, display_name) \
             select '{acme}', md5(n::text)::uuid, repeat('x', 200) from generate_series(1, 12000) n"
        );
        world.source.execute(&many).await;
        let daemon = world.daemon().await;
        wait_in_sync(&world, &daemon, &["acme", "globex", "initech"]).await;
        let own = &world.tenant("acme").destination;
        assert!(own.query_text("select pg_relation_size('users') / 8192 > 256").await == "t");
        leave(&world, "acme").await;
        let active = "select count(*) from offtake.destination where active";
        world.source.wait_text(active, "2").await;
        let database = if at_source { &world.source } else { own };
        let holder = database.connect().await;
        holder.batch_execute(&format!("begin; {stop}")).await.unwrap();
        let purge = Purge::of(&world, "acme", own);
        kill_where_it_waits(purge.spawn(&world), database).await;
        let left = "select (select count(*) from _offtake_state) || ' ' || (select count(*) from teams) || ' ' || \
                           (select count(*) > 12000 from users) || ' ' || (select count(*) from users where ctid < '(256,0)')";
        if at > 0 {
            let expect = ["", "2 2 true", "0 2 ", "0 0 false 0", "0 0 false 0"][at];
            let found = own.query_text(left).await;
            assert!(found.starts_with(expect), "{stop}: {found}");
        }
        let noted =
            "select count(*) from offtake.destination where forget_requested_at is not null";
        assert_eq!(world.source.query_text(noted).await, if at > 0 { "1" } else { "0" }, "{stop}");
        holder.batch_execute("rollback").await.unwrap();
        wait_noticed(database).await;
        // Meanwhile nothing is copied there.
        world.source.execute("update project_user set display_name = 'changed'").await;
        wait_in_sync(&world, &daemon, &["globex", "initech"]).await;
        if at_source {
            // The statement was the last one, and the server has ended it.
            let (code, _, told) = offtake(&world, &purge.arguments()).await;
            assert!(code == 2 && told.contains("has no destination"), "{told}");
        } else {
            purge.run(&world).await;
        }
        let all = "select (select count(*) from users) || ' ' || (select count(*) from teams) || ' ' || \
                          (select count(*) from _offtake_state)";
        assert_eq!(own.query_text(all).await, "0 0 0", "{stop}");
        assert_eq!(kept(&world, "acme").await, ["0", "0"], "{stop}");
        daemon.stop().await;
    }
}

/// The same in a database that tenants share: chunk by chunk, and no row of another tenant.
#[tokio::test]
async fn a_purge_of_a_shared_database_that_is_killed_takes_no_other_tenant_s_rows() {
    let (world, shared) = world().await;
    let many = "insert into project_user (tenancy_id, project_user_id, display_name) \
        select id, md5(n::text)::uuid, n::text from tenancy, generate_series(1, 12000) n";
    world.source.execute(many).await;
    let daemon = world.daemon().await;
    wait_in_sync(&world, &daemon, &["acme", "globex", "initech"]).await;
    let before = shared_rows(&world, &shared, "initech").await;
    assert_eq!(before, "12020 2 2");
    leave(&world, "globex").await;
    let purge = Purge::of(&world, "globex", &shared);
    let holder = shared.connect().await;
    let globex = world.id("globex");
    let lock = format!(
        "begin; select from users where tenant_id = '{globex}' order by id desc limit 1 for update"
    );
    holder.batch_execute(&lock).await.unwrap();
    kill_where_it_waits(purge.spawn(&world), &shared).await;
    holder.batch_execute("rollback").await.unwrap();
    wait_noticed(&shared).await;
    assert!(shared_rows(&world, &shared, "globex").await.ends_with(" 0"), "no cursors");
    purge.run(&world).await;
    assert_eq!(shared_rows(&world, &shared, "globex").await, "0 0 0");
    assert_eq!(shared_rows(&world, &shared, "initech").await, before);
    assert_eq!(kept(&world, "globex").await, ["0", "0"]);
    daemon.stop().await;
}

/// One of a tenant's destinations is purged: the other, in another schema of the same database, is
/// served as before. Without `--purge` all that is left is forgotten at once.
#[tokio::test]
async fn of_several_destinations_of_a_tenant_one_is_purged() {
    let (world, _shared) = world().await;
    let (acme, own) = (world.id("acme"), &world.tenant("acme").destination);
    let more = "alter table customer drop constraint customer_pkey, add name text default 'main', \
                add schema text default 'public'";
    world.source.execute(more).await;
    for name in ["second", "third"] {
        let insert = format!(
            "insert into customer values ('{acme}', '{}', false, '{name}', '{name}')",
            own.url()
        );
        world.source.execute(&insert).await;
    }
    let daemon = world.daemon().await;
    let users = |schema: &str| format!("select count(*) from {schema}.users");
    for schema in ["public", "second", "third"] {
        own.wait_text(&users(schema), "20").await;
    }
    let gone = format!("delete from customer where tenant_id = '{acme}' and name = 'main'");
    world.source.execute(&gone).await;
    let purge = Purge::of(&world, "acme", own);
    let (code, _, told) = offtake(&world, &purge.arguments()).await;
    assert!(code == 2 && told.contains("name the one that the URL leads to"), "{told}");
    // Not one that is still named, and not another's.
    let of = |name: &'static str| [purge.arguments(), vec!["--destination", name]].concat();
    let (code, _, told) = offtake(&world, &of("second")).await;
    assert!(code == 1 && told.contains("still returns"), "{told}");
    let (code, _, told) = offtake(&world, &of("fourth")).await;
    assert!(code == 2 && told.contains("has no destination named fourth"), "{told}");
    let (code, said, told) = offtake(&world, &of("main")).await;
    assert_eq!(code, 0, "{said}{told}");
    assert_eq!(own.query_text(&users("public")).await, "0");
    assert_eq!(own.query_text("select count(*) from public._offtake_state").await, "0");
    world.source.execute("update project_user set display_name = 'changed'").await;
    for schema in ["second", "third"] {
        let changed = format!("{} where display_name = 'changed'", users(schema));
        own.wait_text(&changed, "20").await;
    }
    leave(&world, "acme").await;
    let (code, said, told) = offtake(&world, &["forget", "--tenant", acme, "--yes"]).await;
    assert_eq!(code, 0, "{said}{told}");
    assert!(said.contains("acme") || said.matches("forgot ").count() == 2, "{said}");
    assert_eq!(kept(&world, "acme").await, ["0", "0"]);
    assert_eq!(own.query_text(&users("second")).await, "20");
    daemon.stop().await;
}

/// Users by a `schema_sql` that makes partitions, with the tenant's column or without.
fn partitioned(keep_tenant: bool) -> String {
    let (column, key) =
        if keep_tenant { ("tenant_id uuid, ", "tenant_id, id") } else { ("", "id") };
    format!(
        "source: {{ table: public.project_user, tenant: tenancy_id, key: {{ id: project_user_id }} }}\n\
         query: select tenancy_id as tenant_id, project_user_id as id, display_name from public.project_user\n\
         target:\n  table: users\n  keep_tenant: {keep_tenant}\n  schema_sql: |\n    \
         create table if not exists users ({column}id uuid, display_name text, primary key ({key})) partition by hash (id);\n    \
         create table if not exists users_0 partition of users for values with (modulus 2, remainder 0);\n    \
         create table if not exists users_1 partition of users for values with (modulus 2, remainder 1) partition by hash (id);\n    \
         create table if not exists users_1_0 partition of users_1 for values with (modulus 1, remainder 0);\n    \
         create table if not exists notes (id int); insert into notes values (1);\n"
    )
}

/// Tables of `schema_sql`, partitioned over two levels: the rows of every partition go, the tables
/// stay, and what `schema_sql` made beside them is not touched.
#[tokio::test]
async fn a_purge_clears_every_partition_and_no_table_that_is_not_a_mapping_s() {
    for shared in [false, true] {
        let mut world = World::with_tenants(["acme", "globex"])
            .mappings(&[("users", &partitioned(shared))])
            .await;
        let together = Source::destination().await;
        world.source.execute("create table customer (tenant_id text, url text, shared bool)").await;
        for tenant in ["acme", "globex"] {
            let own = if shared { &together } else { &world.tenant(tenant).destination };
            let row = format!(
                "insert into customer values ('{}', '{}', {shared})",
                world.id(tenant),
                own.url()
            );
            world.source.execute(&row).await;
        }
        world.configure(|c| {
            c["destinations"] = json!({ "query": "select * from customer", "refresh": "100ms" });
        });
        world.fill(200).await;
        let daemon = world.daemon().await;
        wait_in_sync(&world, &daemon, &["acme", "globex"]).await;
        let there = if shared { &together } else { &world.tenant("acme").destination };
        let parts = "select (select count(*) from users) || ' ' || (select count(*) > 0 from users_0) || ' ' || \
                            (select count(*) > 0 from users_1_0)";
        let both = if shared { "400 true true" } else { "200 true true" };
        assert_eq!(there.query_text(parts).await, both);
        leave(&world, "acme").await;
        let said = Purge::of(&world, "acme", there).run(&world).await;
        assert!(said.contains("deleted 200 row(s)") && said.contains("public.users"), "{said}");
        let left = if shared { "200 true true" } else { "0 false false" };
        assert_eq!(there.query_text(parts).await, left);
        assert_eq!(there.query_text("select count(*) > 0 from notes").await, "t");
        assert_eq!(kept(&world, "acme").await, ["0", "0"]);
        world.source.execute("update project_user set display_name = 'changed'").await;
        wait_in_sync(&world, &daemon, &["globex"]).await;
        let (code, said, told) = offtake(&world, &["verify"]).await;
        assert!(code == 0 && said.contains("1 of 1 copies equal"), "{said}{told}");
        daemon.stop().await;
    }
}

/// Where nothing can be deleted, the message says what is left to do.
#[tokio::test]
async fn what_cannot_be_purged_is_forgotten_as_the_message_says() {
    let (world, _shared) = world().await;
    world.allow("destination_refused");
    let daemon = world.daemon().await;
    wait_in_sync(&world, &daemon, &["acme", "globex", "initech"]).await;
    // An entry that could never be used.
    world.source.execute("insert into customer values ('unused', 'no url', false)").await;
    let known = "select count(*) from offtake.destination where tenant_id = 'unused' and refused is not null";
    world.source.wait_text(known, "1").await;
    world.source.execute("delete from customer where tenant_id = 'unused'").await;
    let acme = &world.tenant("acme").destination;
    let file = world.folder().join("url");
    std::fs::write(&file, acme.url()).unwrap();
    let file = file.to_str().unwrap();
    let purge = ["forget", "--tenant", "unused", "--purge", "--yes", "--url-file", file];
    let (code, _, told) = offtake(&world, &purge).await;
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("the registry knows no place of unused/main"), "{told}");
    assert_eq!(between(remedy(&told), "run `offtake ", "` without --purge"), "forget");
    let (code, said, told) = offtake(&world, &["forget", "--tenant", "unused", "--yes"]).await;
    assert_eq!(code, 0, "{said}{told}");
    // Rows that another source serves.
    leave(&world, "acme").await;
    let stranger = "update _offtake_state set source_identity = jsonb_set(source_identity, '{server}', '\"1\"')";
    acme.execute(stranger).await;
    let (code, _, told) = offtake(&world, &Purge::of(&world, "acme", acme).arguments()).await;
    assert!(code == 4 && remedy(&told).contains("run `offtake forget` without --purge"), "{told}");
    let (code, said, told) =
        offtake(&world, &["forget", "--tenant", world.id("acme"), "--yes"]).await;
    assert_eq!(code, 0, "{said}{told}");
    assert_eq!(kept(&world, "acme").await, ["0", "0"]);
    assert_eq!(acme.query_text("select count(*) from users").await, "20");
    daemon.stop().await;
}
