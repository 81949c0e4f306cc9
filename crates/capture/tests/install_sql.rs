//! The whole SQL that `offtake init --print-sql` prints, as the reviewer of a schema change reads
//! it.

use std::path::Path;

use offtake_capture::{Relations, install_sql};
use offtake_mapping::{
    Column, Identifier, KeyColumn, KeyOrder, MappingSet, ResolvedMapping, parse,
};

/// A mapping as the catalog would resolve it, with a key of type uuid.
fn resolved(yaml: &str) -> ResolvedMapping {
    let definition = parse(Path::new("mapping.yaml"), yaml).expect("the mapping parses");
    let name = |text: &str| Identifier::new(text).expect("a name");
    let key = vec![KeyColumn {
        query_column: name("id"),
        source_column: name("id"),
        sql_type: "uuid".to_owned(),
        source_type: "uuid".to_owned(),
        order: KeyOrder::Native,
        equals: "=".to_owned(),
        by_text: false,
        coarse: false,
    }];
    let column = |text: &str| Column {
        name: name(text),
        source_type: "uuid".to_owned(),
        target_type: "uuid".to_owned(),
    };
    ResolvedMapping::new(definition, column("tenant_id"), key, vec![column("id")])
}

fn printed(yaml: &str) -> String {
    let set = MappingSet::new(vec![resolved(yaml)], |_, _| "uuid".to_owned());
    install_sql(&set, &Relations::default())
}

#[test]
fn a_table_with_a_tenant_column_and_a_table_it_depends_on() {
    insta::assert_snapshot!(printed(
        "name: users
source: { table: public.project_user, tenant: tenancy_id }
depends_on: [{ table: public.contact_channel, match: { id: user_id } }]
query: select tenancy_id as tenant_id, id from public.project_user
target: { table: users }"
    ));
}

#[test]
fn a_tenant_by_expression() {
    insta::assert_snapshot!(printed(
        "name: events
source: { table: public.event, tenant: \"source.data->>'tenant' -- as written\" }
query: select data->>'tenant' as tenant_id, id from public.event
target: { table: events }"
    ));
}

#[test]
fn a_tenant_to_be_looked_up() {
    insta::assert_snapshot!(printed(
        "name: invitations
source:
  table: public.invitation
  tenant: { table: public.tenancy, column: id, match: { project_id: project_id } }
query: select tenant_id, id from public.invitation
target: { table: invitations }"
    ));
}
