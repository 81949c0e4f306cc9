//! A row that the source cannot print (H14).

use offtake_tests::oracle;

use super::{wait_quarantined, wait_there, world, write};

const DOCS: &str = "
source: { table: public.doc, tenant: org, key: { id: id } }
query: select org as tenant_id, id, printed(body) as body from doc
target: { table: docs }
";

/// What the server says of a value that prints to more than a gigabyte is no error of data to it:
/// XX000. Here a function says so, of a row in the initial copy and of two live ones; the third
/// grows too long for the server by itself (54000).
#[tokio::test]
async fn a_row_too_large_to_print_is_set_aside_and_the_others_arrive() {
    let setup = "
        create function printed(text) returns text immutable language plpgsql as $$
          begin
            if $1 = 'huge' then raise 'invalid memory alloc request size 1120000003' using errcode = 'XX000'; end if;
            if $1 = 'damaged' then raise 'invalid page' using errcode = 'XX001'; end if;
            if $1 = 'long' then return repeat('x', 2000000000); end if;
            return $1;
          end $$;
        create table doc (org text, id int, body text, primary key (org, id));
        insert into doc select '{acme}', n, case n when 50 then 'huge' else 'x' end from generate_series(1, 100) n";
    let world = world(&[("docs", DOCS)], setup).await;
    world.allow("rows_quarantined");
    let daemon = world.daemon().await;
    wait_there(&world, "select count(*) from docs", "99").await;
    wait_quarantined(&world, "50 XX000").await;
    write(
        &world,
        "insert into doc values ('{acme}', 1000, 'huge'), ('{acme}', 1001, 'damaged'), ('{acme}', 1002, 'long');
         update doc set body = 'y' where id <= 10",
    )
    .await;
    wait_there(&world, "select count(*) from docs where body = 'y'", "10").await;
    wait_quarantined(&world, "1000 XX000, 1001 XX001, 1002 54000, 50 XX000").await;
    write(&world, "delete from doc where id >= 1000; update doc set body = 'small' where id = 50")
        .await;
    wait_quarantined(&world, "").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
