-- Whether the schema exists, which role owns the capture functions of this database, and whether it
-- may do what they do. The role is the one that may append captured changes: a database keeps its
-- role when it is renamed, restored or copied. Otherwise its name is made of the cluster's and the
-- database's identity, so that no two databases have the same (deploy/grants.sql makes the same
-- name). `shared`: the role that older versions used in all databases still has rights here.
with log as (
  select pg_catalog.to_regclass('offtake.captured_change') as oid
), role as (
  select coalesce(
           (select pg_catalog.min(r.rolname::text)
              from log
              join pg_catalog.pg_class c on c.oid = log.oid
             cross join lateral pg_catalog.aclexplode(c.relacl) a
              join pg_catalog.pg_roles r on r.oid = a.grantee
             where a.privilege_type = 'INSERT' and r.rolname ~ '^offtake_capture_[0-9a-z_]+$'),
           (select 'offtake_capture_' || left(pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(s.system_identifier || '/' || d.oid, 'UTF8')), 'hex'), 12)
              from pg_catalog.pg_control_system() s, pg_catalog.pg_database d
             where d.datname = pg_catalog.current_database())) as name
)
select log.oid is not null as migrated, role.name as role,
       case when log.oid is null or pg_catalog.to_regrole(role.name) is null then false
            else pg_catalog.has_schema_privilege(role.name, 'offtake', 'usage')
                 and pg_catalog.has_table_privilege(role.name, log.oid, 'insert')
       end as granted,
       case when log.oid is null or pg_catalog.to_regrole('offtake_capture') is null then false
            else pg_catalog.has_table_privilege('offtake_capture', log.oid, 'insert')
       end as shared
  from log, role
