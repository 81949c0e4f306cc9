-- Least privilege: three roles, and exactly what each of them needs at the source. Adapt the names,
-- and run the three parts as their comments say.
--
--   app_owner          owns the application's tables; it exists already
--   offtake_installer  runs `offtake init` and `offtake uninstall`, for minutes; the role of a
--                      person or of a deployment
--   offtake            the role in source.url of the daemon, and of check, status, sync, verify,
--                      preview and resync
--
-- A fourth role owns the trigger functions. It cannot log in, and may only append captured changes.
-- Roles belong to the whole cluster, so each database has one of its own, offtake_capture_ with
-- twelve digits that stand for the cluster and the database.
--
-- A smaller installation may use one role for both offtake and offtake_installer: then give
-- `offtake` what offtake_installer gets here.

-- Part 1: once, as a superuser (or as a role with CREATEROLE that may also grant app_owner), in the
-- application's database.
create role offtake_installer login;                       -- \password offtake_installer
create role offtake login;                                 -- \password offtake
-- Only the owner of a table may enable, disable and drop its triggers.
grant app_owner to offtake_installer;
grant offtake to offtake_installer;                        -- to hand the schema over, part 3
do $$
declare
  capture text := (select 'offtake_capture_' || left(encode(sha256(convert_to(
                            s.system_identifier || '/' || d.oid, 'UTF8')), 'hex'), 12)
                     from pg_control_system() s, pg_database d
                    where d.datname = current_database());
begin
  if to_regrole(capture) is null then
    execute format('create role %I nologin', capture);
  end if;
  execute format('grant %I to offtake_installer', capture);  -- so that it can own the functions
  -- create: offtake_installer creates the schema offtake, and offtake must be able to own it.
  execute format('grant connect, create on database %I to offtake_installer', current_database());
  execute format('grant connect, create on database %I to offtake', current_database());
end
$$;

-- Part 2: as app_owner, for the tables that the mappings' queries read, and again for every table
-- that a new mapping adds. Run `offtake check --connect` as the role offtake: it names what is
-- missing.
grant usage on schema public to offtake;
grant select on all tables in schema public to offtake;
-- Tables with row-level security: Offtake reads with row_security = off, so that hidden rows are an
-- error and not a gap. Only where such tables are read, as a superuser:
--   alter role offtake bypassrls;

-- Part 3: as offtake_installer, after every `offtake init`. The daemon adds and drops partitions of
-- the log, so its role must own the log.
alter schema offtake owner to offtake;
do $$
declare
  relation record;
begin
  for relation in
    select c.oid::regclass as name,
           case c.relkind when 'S' then 'sequence' when 'v' then 'view' else 'table' end as kind
      from pg_class c
     where c.relnamespace = 'offtake'::regnamespace and c.relkind in ('r', 'p', 'v', 'S')
       and c.relowner <> 'offtake'::regrole
       -- The sequence of a column gets its owner with its table.
       and not exists (select from pg_depend d
                        where c.relkind = 'S' and d.objid = c.oid
                          and d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i'))
  loop
    execute format('alter %s %s owner to offtake', relation.kind, relation.name);
  end loop;
end
$$;

-- At a destination: a role that may create tables in its schema and nothing else.
--   create role offtake_writer login;
--   grant connect on database customer to offtake_writer;
--   grant usage, create on schema public to offtake_writer;
-- That role then owns the tables. A role that is to read them needs a grant of its own:
--   alter default privileges for role offtake_writer in schema public
--     grant select on tables to customer_reader;
