//! An export that is interrupted or killed goes on where it was.

use offtake_tests::{PATIENCE, World, binary, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::Child;

use crate::{folder, unzipped};

const ITEMS: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select i.tenant as tenant_id, i.id, i.name from public.item i
target: { table: items }
";

async fn world() -> World {
    let world = World::with_tenants(["acme"])
        .without_init()
        .mappings(&[("items", ITEMS)])
        .setting("/exports/chunk_rows", 100)
        .await;
    let fill =
        "insert into item select '{tenant}', n, 'name ' || n from generate_series(1, 2000) n";
    world.with_items("name text", fill).await;
    world
}

fn create(world: &World, failpoint: &str) -> Child {
    create_with(world, ("FAILPOINTS", failpoint))
}

fn create_with(world: &World, variable: (&str, &str)) -> Child {
    let to = folder(world, "files");
    let arguments = ["export", "create", "--tenant", world.id("acme"), "--format", "csv", "--to"];
    let mut arguments = arguments.to_vec();
    arguments.push(to.to_str().unwrap());
    world.start(variable, &arguments)
}

async fn the_only_export(world: &World) -> Value {
    let told = world.succeed(&["export", "list", "--json"]).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["exports"].as_array().unwrap().len(), 1, "{told}");
    told["exports"][0].clone()
}

/// Every row is there once, and nothing else is in the folder.
fn assert_whole(world: &World) {
    assert_whole_in(world, ["items.csv.gz", "manifest.json"]);
}

/// The same with a file and a manifest of these names.
fn assert_whole_in(world: &World, [file, manifest]: [&str; 2]) {
    let text = unzipped(&folder(world, "files").join(file));
    let mut ids: Vec<u32> =
        text.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=2000).collect::<Vec<_>>());
    let mut names: Vec<_> = std::fs::read_dir(folder(world, "files"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [file, manifest]);
}

/// Its lease ends by itself in a minute. The tests do not wait for it.
async fn end_lease(world: &World) {
    let past = "update offtake.job set leased_until = now() - interval '1 second'";
    world.source.execute(past).await;
}

/// A row of a part that is recorded changes, and the log drops the entry of that change: as where an
/// export goes on after `retention.changes`.
async fn forget_a_change(world: &World) {
    let forgotten = "update item set name = 'forgotten' where id = 150;
         delete from offtake.captured_change;
         select setval('offtake.global_sequence', 10000000);
         create table if not exists offtake.change_log_1
           partition of offtake.change_log for values from (10000000) to (20000000);
         drop table offtake.change_log_0";
    world.source.execute(forgotten).await;
}

#[tokio::test]
async fn ctrl_c_leaves_an_export_that_its_last_line_continues() {
    let world = world().await;
    let child = create(&world, "export.before_chunk=5*off->pause");
    let parts = "select count(*) from offtake.job_chunk";
    world.source.wait_text(parts, "5").await;
    kill_process(Pid::from_raw(child.id().unwrap().cast_signed()).unwrap(), Signal::INT).unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(130));
    let told = String::from_utf8(output.stdout).unwrap();
    let resume =
        told.lines().last().unwrap().strip_prefix("interrupted; to go on: offtake ").unwrap();
    let export = the_only_export(&world).await;
    assert_eq!(export["state"], "paused", "{export}");
    assert_eq!(export["progress"]["rows_done"], 500, "{export}");

    let resume: Vec<&str> = resume.split_whitespace().collect();
    // Parts of another history of the source are of no use.
    let epoch = |epoch: &str| format!("update offtake.job set epoch = '{epoch}'");
    world.source.execute(&epoch("another")).await;
    let failed = world.offtake(&resume).await;
    let complained = String::from_utf8(failed.stderr).unwrap();
    assert!(complained.contains("begins a new epoch; begin a new export"), "{complained}");
    assert_eq!(the_only_export(&world).await["state"], "failed");
    world.source.execute(&epoch(export["epoch"].as_str().unwrap())).await;

    // The percentage does not fall where the estimate grows, and is not 100 before the end.
    world.source.execute("update offtake.job set percent = 90; analyze item").await;
    let told = world.succeed(&[&resume[..], &["--json"]].concat()).await;
    let percents: Vec<i64> = told
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter_map(|told| told["percent"].as_i64())
        .collect();
    assert!(percents.is_sorted(), "{percents:?}");
    assert_eq!((percents.first(), percents.last()), (Some(&90), Some(&99)), "{percents:?}");
    assert_whole(&world);
    let export = the_only_export(&world).await;
    assert_eq!(export["state"], "completed", "{export}");
    // Nothing changed meanwhile, and the parts of the first command were kept.
    assert_eq!(export["consistency"], "settled", "{export}");
    let kept = "select count(*) from offtake.job_chunk where object like '%.a1r0'";
    assert_eq!(world.source.query_text(kept).await, "5");
}

/// kill -9 at each step: what was recorded stands, what was not is read again.
#[tokio::test]
async fn an_export_killed_at_any_step_is_whole_after_resume() {
    let steps =
        ["after_read", "before_put", "after_put", "before_chunk", "before_manifest", "after_end"];
    for step in steps {
        let world = world().await;
        let count = if matches!(step, "before_manifest" | "after_end") { 0 } else { 7 };
        let mut child = create(&world, &format!("export.{step}={count}*off->abort"));
        let ended = child.wait().await.unwrap();
        assert!(!ended.success(), "{step}");
        let export = the_only_export(&world).await;
        let id = export["id"].as_str().unwrap().to_owned();
        end_lease(&world).await;
        if step == "before_manifest" {
            // The settling of the second run meets a failpoint of its own. The third one finds no
            // part that changed, and is settling all the same.
            for failpoint in ["export.settling=abort", "export.before_manifest=abort"] {
                let failpoint = ("FAILPOINTS", failpoint);
                let mut child = world.start(failpoint, &["export", "resume", &id]);
                assert!(!child.wait().await.unwrap().success());
                end_lease(&world).await;
            }
            let export = the_only_export(&world).await;
            assert_eq!(export["state"], "settling", "{export}");
            assert_eq!(export["progress"]["round"], 1, "{export}");
        }
        if step == "after_put" {
            forget_a_change(&world).await;
        }
        world.succeed(&["export", "resume", &id]).await;
        assert_whole(&world);
        let text = unzipped(&folder(&world, "files").join("items.csv.gz"));
        assert_eq!(text.contains("forgotten"), step == "after_put");
        world.succeed(&["export", "verify", &id]).await;
    }
}

/// A command that writes one file by a chosen name, killed among the parts, at the end, and between
/// the two names that it gives at the end.
#[tokio::test]
async fn a_single_file_has_its_name_after_every_interruption() {
    let world = world().await;
    let names = ["acme.csv.gz", "acme.csv.gz.manifest.json"];
    let to = folder(&world, "files").join(names[0]);
    let killed = async |failpoint: &str, arguments: &[&str]| {
        let mut child = world.start(("FAILPOINTS", failpoint), arguments);
        assert!(!child.wait().await.unwrap().success(), "{failpoint}");
        assert!(!to.exists(), "{failpoint}");
        end_lease(&world).await;
    };
    let create = ["export", "create", "--tenant", world.id("acme"), "--format", "csv", "--to"];
    let create = [&create[..], &[to.to_str().unwrap()]].concat();
    killed("export.before_chunk=5*off->abort", &create).await;
    let export = the_only_export(&world).await;
    let id = export["id"].as_str().unwrap();
    killed("export.after_end=abort", &["export", "resume", id]).await;
    let written = folder(&world, "files").join(id).join("whole.a2").join(names[0]);
    std::fs::rename(written, &to).unwrap();
    world.succeed(&["export", "resume", id]).await;
    assert_whole_in(&world, names);
    world.succeed(&["export", "verify", id]).await;
    world.succeed(&["export", "verify", "--in", to.to_str().unwrap()]).await;
}

/// A part of which the size is another one is found by `resume`, and one of which a byte is another
/// one before the files are written. Both are read again.
#[tokio::test]
async fn a_part_that_another_program_changed_is_read_again() {
    let world = world().await;
    let mut child = create(&world, "export.after_read=5*off->error");
    assert!(!child.wait().await.unwrap().success());
    // Where a read fails, the part that was read before it is stored all the same.
    let parts = "select count(*) from offtake.job_chunk";
    assert_eq!(world.source.query_text(parts).await, "5");
    let export = the_only_export(&world).await;
    let id = export["id"].as_str().unwrap();
    let object = async |chunk: u32| {
        let object = format!("select object from offtake.job_chunk where chunk = {chunk}");
        folder(&world, "files").join(world.source.query_text(&object).await)
    };
    let (shorter, other) = (object(1).await, object(3).await);
    std::fs::write(&shorter, &std::fs::read(&shorter).unwrap()[..20]).unwrap();
    let mut bytes = std::fs::read(&other).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&other, bytes).unwrap();

    let resumed = world.offtake(&["export", "resume", id]).await;
    let complained = String::from_utf8(resumed.stderr).unwrap();
    assert!(complained.contains("is not what was written"), "{complained}");
    world.succeed(&["export", "resume", id]).await;
    assert_whole(&world);
    world.succeed(&["export", "verify", id]).await;
    let again = "select string_agg(chunk::text, ' ' order by chunk)
                   from offtake.job_chunk where object not like '%r0'";
    assert_eq!(world.source.query_text(again).await, "1 3");
}

/// A disk that is full, and one that has less room than is kept free. The export pauses and says why,
/// no part is recorded that is not whole, and it goes on when there is room.
#[tokio::test]
async fn a_full_disk_pauses_an_export_until_there_is_room() {
    let world = world().await;
    let to = folder(&world, "files");
    std::fs::create_dir(&to).unwrap();
    let here = to.to_str().unwrap();
    let full = "trap '' XFSZ; ulimit -f 0; exec \"$@\"";
    let little = format!("mount -t tmpfs -o size=64m none '{here}' || exit 77; exec \"$@\"");
    let run = |program: &[&str], arguments: &[&str]| {
        let mut command = std::process::Command::new(program[0]);
        command.args(&program[1..]).arg("sh").arg(binary("offtake")).arg("--config");
        command.arg(world.written_configuration()).args(arguments).output().unwrap()
    };
    let create =
        ["export", "create", "--tenant", world.id("acme"), "--format", "csv", "--to", here];
    let output = run(&["sh", "-c", full], &create);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let export = the_only_export(&world).await;
    assert_eq!(export["state"], "paused", "{export}");
    assert!(export["reason"].as_str().unwrap().contains("too large"), "{export}");
    assert_eq!(world.source.query_text("select count(*) from offtake.job_chunk").await, "0");
    let resume = ["export", "resume", export["id"].as_str().unwrap()];
    let output = run(&["unshare", "--mount", "--", "sh", "-c", &little], &resume);
    let complained = String::from_utf8(output.stderr).unwrap();
    if complained.contains("unshare failed") || output.status.code() == Some(77) {
        eprintln!("skipped: {complained}; a container with root and mount namespaces can run it");
    } else {
        let export = the_only_export(&world).await;
        assert_eq!((output.status.code(), &export["state"]), (Some(1), &"paused".into()));
        let why = export["reason"].as_str().unwrap();
        assert!(why.contains("MiB left, and 256 MiB are kept free"), "{export}");
        assert!(complained.contains(why), "{complained}");
    }
    world.succeed(&resume).await;
    assert_whole(&world);
}

/// A process that lost its lease stops, and writes nothing into what its successor makes.
#[tokio::test]
async fn an_export_that_was_taken_over_is_left_alone() {
    let world = world().await;
    let child = create(&world, "export.before_put=5*off->pause");
    world.source.wait_text("select count(*) from offtake.job_chunk", "5").await;
    let export = the_only_export(&world).await;
    let id = export["id"].as_str().unwrap();
    // As if its lease had run out while it was frozen.
    let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    end_lease(&world).await;
    world.succeed(&["export", "resume", id]).await;
    assert_whole(&world);
    kill_process(pid, Signal::CONT).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(!output.status.success());
    assert_whole(&world);
    assert_eq!(the_only_export(&world).await["state"], "completed");
    until("no temporary file is left", PATIENCE, async || {
        let left = std::fs::read_dir(folder(&world, "files")).unwrap().count();
        if left == 2 { Ok(()) } else { Err(format!("{left} entries")) }
    })
    .await;
}

/// It was frozen when all that was missing were the files' own names, for which it copied all rows.
#[tokio::test]
async fn a_command_that_is_late_at_the_end_replaces_no_file() {
    let world = world().await;
    let points = world.folder().join("failpoints");
    std::fs::write(&points, "export.before_manifest=pause\n").unwrap();
    let child = create_with(&world, ("OFFTAKE_FAILPOINTS_FILE", points.to_str().unwrap()));
    let whole = folder(&world, "files");
    until("the files are written beside the parts", PATIENCE, async || {
        let entries = std::fs::read_dir(&whole).into_iter().flatten().flatten();
        let mut found = entries.map(|entry| entry.path().join("whole.a1/items.csv.gz"));
        let reached = std::fs::read_to_string(points.with_extension("reached"));
        let paused = reached.is_ok_and(|reached| reached.contains("export.before_manifest"));
        match paused && found.any(|path| path.exists()) {
            true => Ok(()),
            false => Err(format!("the command pauses: {paused}")),
        }
    })
    .await;
    let export = the_only_export(&world).await;
    let id = export["id"].as_str().unwrap();
    let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    end_lease(&world).await;
    // The successor finds other rows, and so its files are others.
    world.source.execute("update item set name = 'newer' where id <= 10").await;
    world.succeed(&["export", "resume", id]).await;
    let file = folder(&world, "files").join("items.csv.gz");
    let bytes = std::fs::read(&file).unwrap();
    assert!(unzipped(&file).contains("newer"));

    // It goes on long before it looks at its lease again.
    std::fs::write(&points, "").unwrap();
    kill_process(pid, Signal::CONT).unwrap();
    let output = child.wait_with_output().await.unwrap();
    let complained = String::from_utf8(output.stderr).unwrap();
    assert!(complained.contains("another process works on the export"), "{complained}");
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    assert_whole(&world);
    world.succeed(&["export", "verify", id]).await;
}
