//! Names that need quoting, in every place where a mapping has a name.

use offtake_tests::{World, oracle};

use crate::{prepare, verify};

const TABLES: &str = r#"
    create schema "Sch""ema 'x' \";
    create table "Sch""ema 'x' \"."select" ("te'n""ant" text, "K ey" int, "order" int, "Üml\aut ☃" text, "%s {t} ${X}" text, "Ref" int, "offtake_present" bool,
      "k0" text, "q" text, "tenant" text, "row" text, primary key ("te'n""ant", "K ey", "order"));
    create table "Sch""ema 'x' \"."Look up" ("te'n""ant" text, "Ref" int, "Name" text, primary key ("te'n""ant", "Ref"));
    create index on "Sch""ema 'x' \"."select" ("te'n""ant", "Ref")"#;

const MAPPING: &str = r#"
source:
  table: '"Sch""ema ''x'' \"."select"'
  tenant: '"te''n""ant"'
  key: { '"Key 1"': '"K ey"', '"order"': '"order"' }
depends_on:
  - table: '"Sch""ema ''x'' \"."Look up"'
    match: { '"te''n""ant"': '"te''n""ant"', '"Ref"': '"Ref"' }
query: |
  select s."te'n""ant" as tenant_id, s."K ey" as "Key 1", s."order", s."Üml\aut ☃", s."%s {t} ${X}", s."k0", s."q", s."tenant", s."row", l."Name" as "user"
    from "Sch""ema 'x' \"."select" s
    left join "Sch""ema 'x' \"."Look up" l on l."te'n""ant" = s."te'n""ant" and l."Ref" = s."Ref" -- a comment at the end
target: { table: '"T able ""1"" ''x'' \ {schema}"' }
"#;

/// Every name goes through `Identifier::sql`; a name that does not is at best a syntax error. The
/// destination's schema needs quotes too.
#[tokio::test]
async fn tables_columns_and_schemas_that_need_quotes() {
    let mut world = World::with_tenants(["acme", "globex"])
        .mappings(&[("odd-names", MAPPING)])
        .without_init()
        .await;
    const SCHEMA: &str = "Co pies 'x' {schema}";
    world.configure(|c| c["destinations"]["static"][1]["schema"] = SCHEMA.into());
    prepare(&world, TABLES).await;
    let rows = r#"insert into "Sch""ema 'x' \"."select" ("te'n""ant", "K ey", "order", "Üml\aut ☃", "%s {t} ${X}", "Ref", "k0")
        select t, n, n % 3, 'u', '%s', n % 4, 'k' from unnest(array['{acme}', '{globex}']) t, generate_series(1, 30) n;
        insert into "Sch""ema 'x' \"."Look up" select t, n, 'name' from unnest(array['{acme}', '{globex}']) t, generate_series(0, 3) n"#;
    world
        .source
        .execute(&rows.replace("{acme}", world.id("acme")).replace("{globex}", world.id("globex")))
        .await;
    let daemon = world.daemon().await;
    let mapping = world.mappings().remove(0);
    let assert_equal = async |what: &str| {
        for (tenant, schema) in [("acme", "public"), ("globex", SCHEMA)] {
            let destination = &world.tenant(tenant).destination;
            offtake_tests::until(
                "the copy equals its query",
                offtake_tests::PATIENCE,
                async || {
                    let table = format!("select from \"{schema}\".{}", mapping.target.table.sql());
                    destination.try_query_text(&table).await?;
                    let difference = oracle::compare(
                        &world.source,
                        world.id(tenant),
                        &mapping,
                        destination,
                        schema,
                    )
                    .await;
                    if difference.missing.is_empty() && difference.surplus.is_empty() {
                        Ok(())
                    } else {
                        Err(format!("{what}: {difference}"))
                    }
                },
            )
            .await;
        }
    };
    assert_equal("copied").await;
    for change in [
        r#"update "Sch""ema 'x' \"."select" set "row" = 'changed', "offtake_present" = false where "K ey" < 5"#,
        r#"update "Sch""ema 'x' \"."select" set "K ey" = "K ey" + 100 where "K ey" < 10"#,
        r#"update "Sch""ema 'x' \"."Look up" set "Name" = 'N' where "Ref" = 2"#,
        r#"delete from "Sch""ema 'x' \"."select" where "order" = 1"#,
        r#"truncate "Sch""ema 'x' \"."Look up""#,
    ] {
        world.source.execute(change).await;
        assert_equal(change).await;
    }
    verify(&world, daemon).await;
}
