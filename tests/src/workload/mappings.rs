//! The workload's mappings: every kind of tenant and key, joins, filters.

/// Name and text, as [`crate::Plan::mappings`] takes them. `version` belongs to the row itself. As
/// long as it stays the same, `joined_version` only rises. So [`crate::history`] can tell an older
/// state from a newer one.
pub(super) const MAPPINGS: [(&str, &str); 6] = [
    (
        "parents",
        "
source: { table: work.parent, tenant: tenant }
depends_on:
  - { table: work.child, match: { tenant: tenant, id: parent } }
query: |
  select p.tenant as tenant_id, p.id, p.body, p.version,
         (select count(*) from work.child c where c.tenant = p.tenant and c.parent = p.id) as children
    from work.parent p
   where not p.archived
target: { table: parents }
",
    ),
    (
        "children",
        "
source: { table: work.child, tenant: tenant, key: { parent: parent, no: no } }
depends_on:
  - { table: work.parent, match: { tenant: tenant, parent: id } }
query: |
  select c.tenant as tenant_id, c.parent, c.no, c.body, c.version, p.version as joined_version, c.parent::text as link, p.body as parent_body
    from work.child c join work.parent p on p.tenant = c.tenant and p.id = c.parent
   where not c.hidden and not p.archived
target: { table: children }
",
    ),
    (
        "items",
        "
source:
  table: work.item
  tenant: { table: work.owner, column: tenant, match: { code: code } }
  key: { id: id }
query: |
  select o.tenant as tenant_id, i.id, i.body, i.version, o.version as joined_version, i.code as link
    from work.item i join work.owner o on o.code = i.code
target: { table: items }
",
    ),
    (
        "parts",
        "
source:
  table: work.part
  tenant:
    - { table: work.item, match: { id: item } }
    - { table: work.owner, column: tenant, match: { code: code } }
  key: { id: id }
query: |
  select o.tenant as tenant_id, p.id, p.body, p.version, i.version as joined_version, o.version as owner_version, p.item::text as link
    from work.part p join work.item i on i.id = p.item join work.owner o on o.code = i.code
target: { table: parts }
",
    ),
    (
        "rates",
        "
source: { table: work.rate, tenant: everyone }
query: select r.id, r.body, r.version from work.rate r
target: { table: rates }
",
    ),
    (
        "notes",
        "
source: { table: work.note, tenant: \"split_part(scope, '/', 2)\", key: { name: name } }
query: |
  select split_part(n.scope, '/', 2) as tenant_id, n.name, n.body, n.version from work.note n
target: { table: notes }
",
    ),
];
