//! The worked examples of docs/mappings.md, word for word, run by the real program.

use offtake_tests::{Database, PATIENCE, World, until};
use serde_json::json;

const PAGE: &str = include_str!("../../docs/mappings.md");

/// One fenced block of the page.
struct Block {
    /// The heading of its section.
    heading: String,
    /// `sql setup`, `yaml products`, `text products`, `sql change`.
    kind: String,
    name: String,
    text: String,
}

/// The blocks of the worked examples, in the page's order.
fn blocks() -> Vec<Block> {
    let examples = PAGE.split_once("\n## Worked examples\n").expect("the section is there").1;
    let (mut blocks, mut heading, mut open): (Vec<Block>, _, Option<Block>) =
        (Vec::new(), String::new(), None);
    for line in examples.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text.push_str(&format!("{line}\n")),
            (None, Some(info)) => {
                let (kind, name) = info.split_once(' ').expect("kind and name");
                open = Some(Block {
                    heading: heading.clone(),
                    kind: kind.to_owned(),
                    name: name.to_owned(),
                    text: String::new(),
                });
            }
            (None, None) => {
                if let Some(title) = line.strip_prefix("### ") {
                    title.clone_into(&mut heading);
                }
            }
        }
    }
    blocks
}

/// The table as the page shows it.
async fn shown(database: &Database, table: &str) -> Result<String, String> {
    let columns = format!(
        "select string_agg(column_name, ' | ' order by ordinal_position) from information_schema.columns where table_name = '{table}'"
    );
    let header = database.try_query_text(&columns).await?;
    let rows = database.try_query_text(&format!("select * from {table} order by 1, 2")).await?;
    let rows = rows
        .lines()
        .map(|row| row.replace('|', " | ").trim_end().to_owned() + "\n")
        .collect::<String>();
    Ok(format!("{header}\n{rows}"))
}

#[tokio::test]
async fn the_worked_examples_do_what_the_page_says() {
    let blocks = blocks();
    let headings: std::collections::BTreeSet<&str> =
        blocks.iter().map(|block| block.heading.as_str()).collect();
    assert_eq!(headings.len(), 12, "{headings:?}");
    let mappings: Vec<_> = blocks
        .iter()
        .filter(|b| b.kind == "yaml")
        .map(|b| (b.name.as_str(), b.text.as_str()))
        .collect();
    let mut world =
        World::with_tenants(["acme", "globex"]).without_init().mappings(&mappings).await;
    world.configure(|c| {
        for (destination, tenant) in c["destinations"]["static"]
            .as_array_mut()
            .expect("a list")
            .iter_mut()
            .zip(["acme", "globex"])
        {
            destination["tenant"] = json!(tenant);
        }
    });
    for block in blocks.iter().filter(|b| b.kind == "sql" && b.name == "setup") {
        world.source.execute(&block.text).await;
    }
    for arguments in [&["init"][..], &["check", "--connect"]] {
        let output = world.offtake(arguments).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(!printed.contains("warning:"), "{printed}");
    }
    let daemon = world.daemon().await;
    let acme = &world.tenant("acme").destination;
    for block in &blocks {
        match (block.kind.as_str(), block.name.as_str()) {
            ("sql", "change") => world.source.execute(&block.text).await,
            ("text", table) => {
                until(
                    &format!("{}: {table} is as the page says", block.heading),
                    PATIENCE,
                    async || {
                        let found = shown(acme, table).await?;
                        if found == block.text { Ok(()) } else { Err(format!("\n{found}")) }
                    },
                )
                .await;
            }
            _ => {}
        }
    }
    // The page shows one tenant's tables. The other one's are complete too.
    let owed = "select (select count(*) from offtake.captured_change) + (select count(*) from offtake.fan_out)
                     + (select count(*) from offtake.outgoing_request)
                     + (select count(*) from offtake.change_log l, offtake.poller_position p where l.sequence_id > p.sequence_id)";
    world.source.wait_text(owed, "0").await;
    daemon.stop().await;
    world.succeed(&["verify"]).await;
}
