--
-- PostgreSQL database dump
--

\restrict TyBmOIn0uXiYLwQ9bJ2yeYe5ZuFjqN9COchndSJPYbTpU5DKju908jyeCDS4euF

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: offtake; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA offtake;


--
-- Name: SCHEMA offtake; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON SCHEMA offtake IS 'Offtake keeps tenants'' own databases in step with this one; `offtake uninstall` removes it.';


--
-- Name: contact_channel_type; Type: TYPE; Schema: public; Owner: -
--

CREATE TYPE public.contact_channel_type AS ENUM (
    'email',
    'phone'
);


--
-- Name: capture_public_contact_channel_1ba0a812(); Type: FUNCTION; Schema: offtake; Owner: -
--

CREATE FUNCTION offtake.capture_public_contact_channel_1ba0a812() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    AS $$
-- Captures changes of public.contact_channel for Offtake. Written by `offtake init`, which also undoes edits.
-- `gone` stands in for columns that the application drops or renames, so that its writes go on.
-- Records 10de17ace0a5c369 4280678cbd837cef 5822ebee2ee63229 88c862be0bb37683 b89449e0b1e0082d
#variable_conflict use_column
declare
  changed_rows bigint;
  some_left boolean;
begin
if tg_op operator(pg_catalog.=) 'UPDATE' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.contact_channel', 'c'::pg_catalog."char", changed.tenant_id, case when changed.tenant_id is not null then changed.row_key end, changed.matched
    from (select null::pg_catalog.pg_lsn as "project_user_id", null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select "tenancy_id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['project_user_id', "project_user_id"::pg_catalog.text, 'id', "id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'project_user_id', "project_user_id"::pg_catalog.text]) as matched from new_rows source) changed;
  get diagnostics changed_rows = row_count;
  if changed_rows operator(pg_catalog.=) 1 then
    perform from (select null::pg_catalog.pg_lsn as "project_user_id", null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select "project_user_id" as k0, "id" as k1, "tenancy_id" as k2, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'project_user_id', "project_user_id"::pg_catalog.text]) as k3 from old_rows source) before cross join lateral
         (select "project_user_id" as k0, "id" as k1, "tenancy_id" as k2, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'project_user_id', "project_user_id"::pg_catalog.text]) as k3, 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("project_user_id")::pg_catalog.oid, pg_catalog.pg_typeof("id")::pg_catalog.oid, pg_catalog.pg_typeof("tenancy_id")::pg_catalog.oid]) as lost from new_rows source) after
     where (after.k0 operator(pg_catalog.=) before.k0 and after.k1 operator(pg_catalog.=) before.k1 and after.k2 operator(pg_catalog.=) before.k2 and after.k3 operator(pg_catalog.=) before.k3) is not true or after.lost;
  end if;
  if found then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.contact_channel', (case when behind.kept then 'c' else 'd' end)::pg_catalog."char", behind.tenant_id, case when behind.tenant_id is not null then behind.row_key end, behind.matched
    from (select null::pg_catalog.pg_lsn as "project_user_id", null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select before.tenant_id, before.row_key, before.matched, after.kept
            from (select "tenancy_id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['project_user_id', "project_user_id"::pg_catalog.text, 'id', "id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'project_user_id', "project_user_id"::pg_catalog.text]) as matched, "project_user_id" as k0, "id" as k1, "tenancy_id" as k2 from old_rows source) before
            full join (select true as kept, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'project_user_id', "project_user_id"::pg_catalog.text]) as matched, "project_user_id" as k0, "id" as k1, "tenancy_id" as k2 from new_rows source) after
              on before.k0 operator(pg_catalog.=) after.k0 and before.k1 operator(pg_catalog.=) after.k1 and before.k2 operator(pg_catalog.=) after.k2
           where after.kept is null or before.matched operator(pg_catalog.<>) after.matched) behind
  union all
  select 'public.contact_channel', 't'::pg_catalog."char", null::pg_catalog.text, null::pg_catalog.jsonb, null::pg_catalog.jsonb
    from (select null::pg_catalog.pg_lsn as "project_user_id", null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("project_user_id")::pg_catalog.oid, pg_catalog.pg_typeof("id")::pg_catalog.oid, pg_catalog.pg_typeof("tenancy_id")::pg_catalog.oid]) as lost from new_rows source limit 1) first
   where first.lost;
  end if;
elsif tg_op operator(pg_catalog.=) 'INSERT' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.contact_channel', (case when changed.lost then 't' else 'c' end)::pg_catalog."char", changed.tenant_id, case when changed.tenant_id is not null then changed.row_key end, changed.matched
    from (select null::pg_catalog.pg_lsn as "project_user_id", null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select "tenancy_id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['project_user_id', "project_user_id"::pg_catalog.text, 'id', "id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'project_user_id', "project_user_id"::pg_catalog.text]) as matched, 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("project_user_id")::pg_catalog.oid, pg_catalog.pg_typeof("id")::pg_catalog.oid, pg_catalog.pg_typeof("tenancy_id")::pg_catalog.oid]) as lost from new_rows source) changed;
elsif tg_op operator(pg_catalog.=) 'DELETE' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.contact_channel', (case when changed.lost then 't' else 'd' end)::pg_catalog."char", changed.tenant_id, case when changed.tenant_id is not null then changed.row_key end, changed.matched
    from (select null::pg_catalog.pg_lsn as "project_user_id", null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select "tenancy_id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['project_user_id', "project_user_id"::pg_catalog.text, 'id', "id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'project_user_id', "project_user_id"::pg_catalog.text]) as matched, 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("project_user_id")::pg_catalog.oid, pg_catalog.pg_typeof("id")::pg_catalog.oid, pg_catalog.pg_typeof("tenancy_id")::pg_catalog.oid]) as lost from old_rows source) changed;
else
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key)
  values ('public.contact_channel', 't', null, null);
end if;
return null;
end
$$;


--
-- Name: FUNCTION capture_public_contact_channel_1ba0a812(); Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON FUNCTION offtake.capture_public_contact_channel_1ba0a812() IS 'Offtake has seen the partitions e3b0c44298fc1c149afbf4c8996fb924, triggers 995bbb74ff3f1e02d4c1bfb534187d70, files 27e8f2d5b42d448c2e7a2c45353627fb, columns bafd134481c8cc56deb921900cd0b421, numbers 16418 {"id":3,"is_primary":6,"is_verified":7,"project_user_id":2,"tenancy_id":1,"type":4,"value":5}';


--
-- Name: capture_public_invitation_591473d6(); Type: FUNCTION; Schema: offtake; Owner: -
--

CREATE FUNCTION offtake.capture_public_invitation_591473d6() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    AS $$
-- Captures changes of public.invitation for Offtake. Written by `offtake init`, which also undoes edits.
-- `gone` stands in for columns that the application drops or renames, so that its writes go on.
-- Records 5822ebee2ee63229 5c7266bb10e27fe9 924543a79e8cbfef ea72a75730e3704c
#variable_conflict use_column
declare
  changed_rows bigint;
  some_left boolean;
begin
if tg_op operator(pg_catalog.=) 'UPDATE' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.invitation', 'c'::pg_catalog."char", changed.tenant_id, changed.row_key, changed.matched
    from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "project_id", null::pg_catalog.pg_lsn as "branch_id") gone cross join lateral
         (select null::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['id', "id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['project_id', "project_id"::pg_catalog.text, 'branch_id', "branch_id"::pg_catalog.text]) as matched from new_rows source) changed;
  get diagnostics changed_rows = row_count;
  if changed_rows operator(pg_catalog.=) 1 then
    perform from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "project_id", null::pg_catalog.pg_lsn as "branch_id") gone cross join lateral
         (select "id" as k0, pg_catalog.jsonb_object(array['project_id', "project_id"::pg_catalog.text, 'branch_id', "branch_id"::pg_catalog.text]) as k1 from old_rows source) before cross join lateral
         (select "id" as k0, pg_catalog.jsonb_object(array['project_id', "project_id"::pg_catalog.text, 'branch_id', "branch_id"::pg_catalog.text]) as k1, 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("id")::pg_catalog.oid, pg_catalog.pg_typeof("project_id")::pg_catalog.oid, pg_catalog.pg_typeof("branch_id")::pg_catalog.oid]) as lost from new_rows source) after
     where (after.k0 operator(pg_catalog.=) before.k0 and after.k1 operator(pg_catalog.=) before.k1) is not true or after.lost;
  end if;
  if found then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.invitation', (case when behind.kept then 'c' else 'd' end)::pg_catalog."char", behind.tenant_id, behind.row_key, behind.matched
    from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "project_id", null::pg_catalog.pg_lsn as "branch_id") gone cross join lateral
         (select before.tenant_id, before.row_key, before.matched, after.kept
            from (select null::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['id', "id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['project_id', "project_id"::pg_catalog.text, 'branch_id', "branch_id"::pg_catalog.text]) as matched, "id" as k0 from old_rows source) before
            full join (select true as kept, pg_catalog.jsonb_object(array['project_id', "project_id"::pg_catalog.text, 'branch_id', "branch_id"::pg_catalog.text]) as matched, "id" as k0 from new_rows source) after
              on before.k0 operator(pg_catalog.=) after.k0
           where after.kept is null or before.matched operator(pg_catalog.<>) after.matched) behind
  union all
  select 'public.invitation', 't'::pg_catalog."char", null::pg_catalog.text, null::pg_catalog.jsonb, null::pg_catalog.jsonb
    from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "project_id", null::pg_catalog.pg_lsn as "branch_id") gone cross join lateral
         (select 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("id")::pg_catalog.oid, pg_catalog.pg_typeof("project_id")::pg_catalog.oid, pg_catalog.pg_typeof("branch_id")::pg_catalog.oid]) as lost from new_rows source limit 1) first
   where first.lost;
  end if;
elsif tg_op operator(pg_catalog.=) 'INSERT' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.invitation', (case when changed.lost then 't' else 'c' end)::pg_catalog."char", changed.tenant_id, changed.row_key, changed.matched
    from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "project_id", null::pg_catalog.pg_lsn as "branch_id") gone cross join lateral
         (select null::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['id', "id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['project_id', "project_id"::pg_catalog.text, 'branch_id', "branch_id"::pg_catalog.text]) as matched, 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("id")::pg_catalog.oid, pg_catalog.pg_typeof("project_id")::pg_catalog.oid, pg_catalog.pg_typeof("branch_id")::pg_catalog.oid]) as lost from new_rows source) changed;
elsif tg_op operator(pg_catalog.=) 'DELETE' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.invitation', (case when changed.lost then 't' else 'd' end)::pg_catalog."char", changed.tenant_id, changed.row_key, changed.matched
    from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "project_id", null::pg_catalog.pg_lsn as "branch_id") gone cross join lateral
         (select null::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['id', "id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['project_id', "project_id"::pg_catalog.text, 'branch_id', "branch_id"::pg_catalog.text]) as matched, 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("id")::pg_catalog.oid, pg_catalog.pg_typeof("project_id")::pg_catalog.oid, pg_catalog.pg_typeof("branch_id")::pg_catalog.oid]) as lost from old_rows source) changed;
else
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key)
  values ('public.invitation', 't', null, null);
end if;
return null;
end
$$;


--
-- Name: FUNCTION capture_public_invitation_591473d6(); Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON FUNCTION offtake.capture_public_invitation_591473d6() IS 'Offtake has seen the partitions e3b0c44298fc1c149afbf4c8996fb924, triggers 64e6d29e859c34dde4dae94bee4c7d60, files c5467383a316769f1258c07d3cfd01a7, columns 889da52aa309b320d86d7c3548f05cb7, numbers 16492 {"branch_id":3,"created_at":7,"data":5,"expires_at":6,"id":1,"method":4,"project_id":2}';


--
-- Name: capture_public_permission_57c2eb71(); Type: FUNCTION; Schema: offtake; Owner: -
--

CREATE FUNCTION offtake.capture_public_permission_57c2eb71() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    AS $$
-- Captures changes of public.permission for Offtake. Written by `offtake init`, which also undoes edits.
-- `gone` stands in for columns that the application drops or renames, so that its writes go on.
-- Records 5822ebee2ee63229 b89449e0b1e0082d
#variable_conflict use_column
declare
  changed_rows bigint;
  some_left boolean;
begin
if tg_op operator(pg_catalog.=) 'UPDATE' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key)
  select 'public.permission', 'c'::pg_catalog."char", changed.tenant_id, case when changed.tenant_id is not null then changed.row_key end
    from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select "tenancy_id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['id', "id"::pg_catalog.text]) as row_key from new_rows source limit 256) changed;
  get diagnostics changed_rows = row_count;
  if changed_rows operator(pg_catalog.=) 1 then
    perform from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select "id" as k0, "tenancy_id" as k1 from old_rows source) before cross join lateral
         (select "id" as k0, "tenancy_id" as k1 from new_rows source) after
     where (after.k0 operator(pg_catalog.=) before.k0 and after.k1 operator(pg_catalog.=) before.k1) is not true;
  end if;
  if found then
  if changed_rows operator(pg_catalog.>=) 256 then
  with after as materialized (
         select packed.page, packed.bytes, packed.tenant, pg_catalog.count(*)::pg_catalog.int4 as key_count, pg_catalog.array_agg(packed.k0) as k0
           from (select (pg_catalog.row_number() over counted operator(pg_catalog.-) 256 operator(pg_catalog.+) 999) operator(pg_catalog./) 1000 as page, 0 as bytes, counted.*
                   from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
                        (select "id" as k0, "tenancy_id" as tenant from new_rows source) counted
                 window counted as (rows unbounded preceding)) packed
          where packed.tenant is not null
          group by packed.page, packed.bytes, packed.tenant), before as materialized (
         select packed.page, packed.bytes, packed.tenant, pg_catalog.count(*)::pg_catalog.int4 as key_count, pg_catalog.array_agg(packed.k0) as k0
           from (select (pg_catalog.row_number() over counted operator(pg_catalog.-) 256 operator(pg_catalog.+) 999) operator(pg_catalog./) 1000 as page, 0 as bytes, counted.*
                   from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
                        (select "id" as k0, "tenancy_id" as tenant from old_rows source) counted
                 window counted as (rows unbounded preceding)) packed
          where packed.tenant is not null
          group by packed.page, packed.bytes, packed.tenant), appended as (
  insert into offtake.captured_change (source_table, operation, tenant_id, keys, key_count, key_column, keys_deleted)
  select 'public.permission', 't'::pg_catalog."char", lists.tenant::pg_catalog.text, lists.k0::pg_catalog.text[], lists.key_count, 'id', false
    from after lists
   where lists.page operator(pg_catalog.>) 0
  )
  select exists (select from before full join after on before.page operator(pg_catalog.=) after.page and before.bytes operator(pg_catalog.=) after.bytes and before.tenant operator(pg_catalog.=) after.tenant where (before.k0 operator(pg_catalog.=) after.k0) is not true)
    into some_left;
  if some_left then
  insert into offtake.captured_change (source_table, operation, tenant_id, keys, key_count, key_column, keys_deleted)
  select 'public.permission', 't'::pg_catalog."char", lists.tenant::pg_catalog.text, lists.k0::pg_catalog.text[], lists.key_count, 'id', true
    from (
         select packed.page, packed.bytes, packed.tenant, pg_catalog.count(*)::pg_catalog.int4 as key_count, pg_catalog.array_agg(packed.k0) as k0
           from (select (pg_catalog.row_number() over counted operator(pg_catalog.-) 0 operator(pg_catalog.+) 999) operator(pg_catalog./) 1000 as page, 0 as bytes, counted.*
                   from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
                        (select before.k0, before.tenant
                          from (select "id" as k0, "tenancy_id" as tenant from old_rows source) before
                          full join (select true as kept, "id" as k0, "tenancy_id" as tenant from new_rows source) after
                            on before.k0 operator(pg_catalog.=) after.k0 and before.tenant operator(pg_catalog.=) after.tenant
                         where after.kept is null) counted
                 window counted as (rows unbounded preceding)) packed
          where packed.tenant is not null
          group by packed.page, packed.bytes, packed.tenant) lists;
  end if;
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key)
  select 'public.permission', 't'::pg_catalog."char", null::pg_catalog.text, null::pg_catalog.jsonb
    from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("id")::pg_catalog.oid, pg_catalog.pg_typeof("tenancy_id")::pg_catalog.oid]) as lost from new_rows source limit 1) first
   where first.lost;
  else
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key)
  select 'public.permission', 'd'::pg_catalog."char", behind.tenant_id, case when behind.tenant_id is not null then behind.row_key end
    from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select before.tenant_id, before.row_key, after.kept
            from (select "tenancy_id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['id', "id"::pg_catalog.text]) as row_key, "id" as k0, "tenancy_id" as k1 from old_rows source) before
            full join (select true as kept, "id" as k0, "tenancy_id" as k1 from new_rows source) after
              on before.k0 operator(pg_catalog.=) after.k0 and before.k1 operator(pg_catalog.=) after.k1
           where after.kept is null) behind
  union all
  select 'public.permission', 't'::pg_catalog."char", null::pg_catalog.text, null::pg_catalog.jsonb
    from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("id")::pg_catalog.oid, pg_catalog.pg_typeof("tenancy_id")::pg_catalog.oid]) as lost from new_rows source limit 1) first
   where first.lost;
  end if;
  end if;
elsif tg_op operator(pg_catalog.=) 'INSERT' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key)
  select 'public.permission', (case when changed.lost then 't' else 'c' end)::pg_catalog."char", changed.tenant_id, case when changed.tenant_id is not null then changed.row_key end
    from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select "tenancy_id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['id', "id"::pg_catalog.text]) as row_key, 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("id")::pg_catalog.oid, pg_catalog.pg_typeof("tenancy_id")::pg_catalog.oid]) as lost from new_rows source limit 256) changed;
  get diagnostics changed_rows = row_count;
  if changed_rows operator(pg_catalog.>=) 256 then
  insert into offtake.captured_change (source_table, operation, tenant_id, keys, key_count, key_column, keys_deleted)
  select 'public.permission', 't'::pg_catalog."char", lists.tenant::pg_catalog.text, lists.k0::pg_catalog.text[], lists.key_count, 'id', false
    from (
         select packed.page, packed.bytes, packed.tenant, pg_catalog.count(*)::pg_catalog.int4 as key_count, pg_catalog.array_agg(packed.k0) as k0
           from (select (pg_catalog.row_number() over counted operator(pg_catalog.-) 256 operator(pg_catalog.+) 999) operator(pg_catalog./) 1000 as page, 0 as bytes, counted.*
                   from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
                        (select "id" as k0, "tenancy_id" as tenant from new_rows source) counted
                 window counted as (rows unbounded preceding)) packed
          where packed.tenant is not null
          group by packed.page, packed.bytes, packed.tenant) lists
   where lists.page operator(pg_catalog.>) 0;
  end if;
elsif tg_op operator(pg_catalog.=) 'DELETE' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key)
  select 'public.permission', (case when changed.lost then 't' else 'd' end)::pg_catalog."char", changed.tenant_id, case when changed.tenant_id is not null then changed.row_key end
    from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select "tenancy_id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['id', "id"::pg_catalog.text]) as row_key, 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("id")::pg_catalog.oid, pg_catalog.pg_typeof("tenancy_id")::pg_catalog.oid]) as lost from old_rows source limit 256) changed;
  get diagnostics changed_rows = row_count;
  if changed_rows operator(pg_catalog.>=) 256 then
  insert into offtake.captured_change (source_table, operation, tenant_id, keys, key_count, key_column, keys_deleted)
  select 'public.permission', 't'::pg_catalog."char", lists.tenant::pg_catalog.text, lists.k0::pg_catalog.text[], lists.key_count, 'id', true
    from (
         select packed.page, packed.bytes, packed.tenant, pg_catalog.count(*)::pg_catalog.int4 as key_count, pg_catalog.array_agg(packed.k0) as k0
           from (select (pg_catalog.row_number() over counted operator(pg_catalog.-) 256 operator(pg_catalog.+) 999) operator(pg_catalog./) 1000 as page, 0 as bytes, counted.*
                   from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
                        (select "id" as k0, "tenancy_id" as tenant from old_rows source) counted
                 window counted as (rows unbounded preceding)) packed
          where packed.tenant is not null
          group by packed.page, packed.bytes, packed.tenant) lists
   where lists.page operator(pg_catalog.>) 0;
  end if;
else
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key)
  values ('public.permission', 't', null, null);
end if;
return null;
end
$$;


--
-- Name: FUNCTION capture_public_permission_57c2eb71(); Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON FUNCTION offtake.capture_public_permission_57c2eb71() IS 'Offtake has seen the partitions e3b0c44298fc1c149afbf4c8996fb924, triggers 0fdf0c1491d31f0c11f5769fa099b0ce, files 638bfd42a7f87d24e107a8c9a3fd7aa3, columns 470c74309dd4c7676ea11f2c4b9b1e77, numbers 16468 {"id":2,"permission_id":5,"project_user_id":3,"team_id":4,"tenancy_id":1}';


--
-- Name: capture_public_project_user_a2c629b9(); Type: FUNCTION; Schema: offtake; Owner: -
--

CREATE FUNCTION offtake.capture_public_project_user_a2c629b9() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    AS $$
-- Captures changes of public.project_user for Offtake. Written by `offtake init`, which also undoes edits.
-- `gone` stands in for columns that the application drops or renames, so that its writes go on.
-- Records 10de17ace0a5c369 4280678cbd837cef 88c862be0bb37683 b89449e0b1e0082d
#variable_conflict use_column
declare
  changed_rows bigint;
  some_left boolean;
begin
if tg_op operator(pg_catalog.=) 'UPDATE' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.project_user', 'c'::pg_catalog."char", changed.tenant_id, case when changed.tenant_id is not null then changed.row_key end, changed.matched
    from (select null::pg_catalog.pg_lsn as "project_user_id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select "tenancy_id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['project_user_id', "project_user_id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'project_user_id', "project_user_id"::pg_catalog.text]) as matched from new_rows source) changed;
  get diagnostics changed_rows = row_count;
  if changed_rows operator(pg_catalog.=) 1 then
    perform from (select null::pg_catalog.pg_lsn as "project_user_id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select "project_user_id" as k0, "tenancy_id" as k1, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'project_user_id', "project_user_id"::pg_catalog.text]) as k2 from old_rows source) before cross join lateral
         (select "project_user_id" as k0, "tenancy_id" as k1, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'project_user_id', "project_user_id"::pg_catalog.text]) as k2, 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("project_user_id")::pg_catalog.oid, pg_catalog.pg_typeof("tenancy_id")::pg_catalog.oid]) as lost from new_rows source) after
     where (after.k0 operator(pg_catalog.=) before.k0 and after.k1 operator(pg_catalog.=) before.k1 and after.k2 operator(pg_catalog.=) before.k2) is not true or after.lost;
  end if;
  if found then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.project_user', (case when behind.kept then 'c' else 'd' end)::pg_catalog."char", behind.tenant_id, case when behind.tenant_id is not null then behind.row_key end, behind.matched
    from (select null::pg_catalog.pg_lsn as "project_user_id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select before.tenant_id, before.row_key, before.matched, after.kept
            from (select "tenancy_id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['project_user_id', "project_user_id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'project_user_id', "project_user_id"::pg_catalog.text]) as matched, "project_user_id" as k0, "tenancy_id" as k1 from old_rows source) before
            full join (select true as kept, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'project_user_id', "project_user_id"::pg_catalog.text]) as matched, "project_user_id" as k0, "tenancy_id" as k1 from new_rows source) after
              on before.k0 operator(pg_catalog.=) after.k0 and before.k1 operator(pg_catalog.=) after.k1
           where after.kept is null or before.matched operator(pg_catalog.<>) after.matched) behind
  union all
  select 'public.project_user', 't'::pg_catalog."char", null::pg_catalog.text, null::pg_catalog.jsonb, null::pg_catalog.jsonb
    from (select null::pg_catalog.pg_lsn as "project_user_id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("project_user_id")::pg_catalog.oid, pg_catalog.pg_typeof("tenancy_id")::pg_catalog.oid]) as lost from new_rows source limit 1) first
   where first.lost;
  end if;
elsif tg_op operator(pg_catalog.=) 'INSERT' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.project_user', (case when changed.lost then 't' else 'c' end)::pg_catalog."char", changed.tenant_id, case when changed.tenant_id is not null then changed.row_key end, changed.matched
    from (select null::pg_catalog.pg_lsn as "project_user_id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select "tenancy_id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['project_user_id', "project_user_id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'project_user_id', "project_user_id"::pg_catalog.text]) as matched, 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("project_user_id")::pg_catalog.oid, pg_catalog.pg_typeof("tenancy_id")::pg_catalog.oid]) as lost from new_rows source) changed;
elsif tg_op operator(pg_catalog.=) 'DELETE' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.project_user', (case when changed.lost then 't' else 'd' end)::pg_catalog."char", changed.tenant_id, case when changed.tenant_id is not null then changed.row_key end, changed.matched
    from (select null::pg_catalog.pg_lsn as "project_user_id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select "tenancy_id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['project_user_id', "project_user_id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'project_user_id', "project_user_id"::pg_catalog.text]) as matched, 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("project_user_id")::pg_catalog.oid, pg_catalog.pg_typeof("tenancy_id")::pg_catalog.oid]) as lost from old_rows source) changed;
else
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key)
  values ('public.project_user', 't', null, null);
end if;
return null;
end
$$;


--
-- Name: FUNCTION capture_public_project_user_a2c629b9(); Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON FUNCTION offtake.capture_public_project_user_a2c629b9() IS 'Offtake has seen the partitions e3b0c44298fc1c149afbf4c8996fb924, triggers 93d9a1df53a002c77fbfe0a7479154a1, files 7b1741af2c35e7dff4ad9e9d887a21ab, columns 7e5a3b2eb26ea30060f884fcf33a9999, numbers 16402 {"display_name":3,"is_anonymous":4,"profile":5,"project_user_id":2,"signed_up_at":6,"tenancy_id":1}';


--
-- Name: capture_public_team_6830a475(); Type: FUNCTION; Schema: offtake; Owner: -
--

CREATE FUNCTION offtake.capture_public_team_6830a475() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    AS $$
-- Captures changes of public.team for Offtake. Written by `offtake init`, which also undoes edits.
-- `gone` stands in for columns that the application drops or renames, so that its writes go on.
-- Records 10de17ace0a5c369 3e50ba786fc809bc 6e85828116230111 b89449e0b1e0082d
#variable_conflict use_column
declare
  changed_rows bigint;
  some_left boolean;
begin
if tg_op operator(pg_catalog.=) 'UPDATE' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.team', 'c'::pg_catalog."char", changed.tenant_id, case when changed.tenant_id is not null then changed.row_key end, changed.matched
    from (select null::pg_catalog.pg_lsn as "team_id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select "tenancy_id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['team_id', "team_id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['team_id', "team_id"::pg_catalog.text, 'tenancy_id', "tenancy_id"::pg_catalog.text]) as matched from new_rows source) changed;
  get diagnostics changed_rows = row_count;
  if changed_rows operator(pg_catalog.=) 1 then
    perform from (select null::pg_catalog.pg_lsn as "team_id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select "team_id" as k0, "tenancy_id" as k1, pg_catalog.jsonb_object(array['team_id', "team_id"::pg_catalog.text, 'tenancy_id', "tenancy_id"::pg_catalog.text]) as k2 from old_rows source) before cross join lateral
         (select "team_id" as k0, "tenancy_id" as k1, pg_catalog.jsonb_object(array['team_id', "team_id"::pg_catalog.text, 'tenancy_id', "tenancy_id"::pg_catalog.text]) as k2, 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("team_id")::pg_catalog.oid, pg_catalog.pg_typeof("tenancy_id")::pg_catalog.oid]) as lost from new_rows source) after
     where (after.k0 operator(pg_catalog.=) before.k0 and after.k1 operator(pg_catalog.=) before.k1 and after.k2 operator(pg_catalog.=) before.k2) is not true or after.lost;
  end if;
  if found then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.team', (case when behind.kept then 'c' else 'd' end)::pg_catalog."char", behind.tenant_id, case when behind.tenant_id is not null then behind.row_key end, behind.matched
    from (select null::pg_catalog.pg_lsn as "team_id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select before.tenant_id, before.row_key, before.matched, after.kept
            from (select "tenancy_id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['team_id', "team_id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['team_id', "team_id"::pg_catalog.text, 'tenancy_id', "tenancy_id"::pg_catalog.text]) as matched, "team_id" as k0, "tenancy_id" as k1 from old_rows source) before
            full join (select true as kept, pg_catalog.jsonb_object(array['team_id', "team_id"::pg_catalog.text, 'tenancy_id', "tenancy_id"::pg_catalog.text]) as matched, "team_id" as k0, "tenancy_id" as k1 from new_rows source) after
              on before.k0 operator(pg_catalog.=) after.k0 and before.k1 operator(pg_catalog.=) after.k1
           where after.kept is null or before.matched operator(pg_catalog.<>) after.matched) behind
  union all
  select 'public.team', 't'::pg_catalog."char", null::pg_catalog.text, null::pg_catalog.jsonb, null::pg_catalog.jsonb
    from (select null::pg_catalog.pg_lsn as "team_id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("team_id")::pg_catalog.oid, pg_catalog.pg_typeof("tenancy_id")::pg_catalog.oid]) as lost from new_rows source limit 1) first
   where first.lost;
  end if;
elsif tg_op operator(pg_catalog.=) 'INSERT' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.team', (case when changed.lost then 't' else 'c' end)::pg_catalog."char", changed.tenant_id, case when changed.tenant_id is not null then changed.row_key end, changed.matched
    from (select null::pg_catalog.pg_lsn as "team_id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select "tenancy_id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['team_id', "team_id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['team_id', "team_id"::pg_catalog.text, 'tenancy_id', "tenancy_id"::pg_catalog.text]) as matched, 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("team_id")::pg_catalog.oid, pg_catalog.pg_typeof("tenancy_id")::pg_catalog.oid]) as lost from new_rows source) changed;
elsif tg_op operator(pg_catalog.=) 'DELETE' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.team', (case when changed.lost then 't' else 'd' end)::pg_catalog."char", changed.tenant_id, case when changed.tenant_id is not null then changed.row_key end, changed.matched
    from (select null::pg_catalog.pg_lsn as "team_id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select "tenancy_id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['team_id', "team_id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['team_id', "team_id"::pg_catalog.text, 'tenancy_id', "tenancy_id"::pg_catalog.text]) as matched, 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("team_id")::pg_catalog.oid, pg_catalog.pg_typeof("tenancy_id")::pg_catalog.oid]) as lost from old_rows source) changed;
else
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key)
  values ('public.team', 't', null, null);
end if;
return null;
end
$$;


--
-- Name: FUNCTION capture_public_team_6830a475(); Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON FUNCTION offtake.capture_public_team_6830a475() IS 'Offtake has seen the partitions e3b0c44298fc1c149afbf4c8996fb924, triggers 5c899cf9551004c223ec37a996282968, files 2df04e28ff4519d0e0334a8576d8078c, columns c695805e18e65e87d911a9160f13b6ac, numbers 16434 {"created_at":6,"display_name":3,"monthly_budget":5,"tags":4,"team_id":2,"tenancy_id":1}';


--
-- Name: capture_public_team_member_768ea27a(); Type: FUNCTION; Schema: offtake; Owner: -
--

CREATE FUNCTION offtake.capture_public_team_member_768ea27a() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    AS $$
-- Captures changes of public.team_member for Offtake. Written by `offtake init`, which also undoes edits.
-- `gone` stands in for columns that the application drops or renames, so that its writes go on.
-- Records 10de17ace0a5c369 3e50ba786fc809bc 6e85828116230111 88c862be0bb37683 b89449e0b1e0082d
#variable_conflict use_column
declare
  changed_rows bigint;
  some_left boolean;
begin
if tg_op operator(pg_catalog.=) 'UPDATE' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.team_member', 'c'::pg_catalog."char", changed.tenant_id, case when changed.tenant_id is not null then changed.row_key end, changed.matched
    from (select null::pg_catalog.pg_lsn as "project_user_id", null::pg_catalog.pg_lsn as "team_id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select "tenancy_id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['project_user_id', "project_user_id"::pg_catalog.text, 'team_id', "team_id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'team_id', "team_id"::pg_catalog.text]) as matched from new_rows source) changed;
  get diagnostics changed_rows = row_count;
  if changed_rows operator(pg_catalog.=) 1 then
    perform from (select null::pg_catalog.pg_lsn as "project_user_id", null::pg_catalog.pg_lsn as "team_id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select "project_user_id" as k0, "team_id" as k1, "tenancy_id" as k2, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'team_id', "team_id"::pg_catalog.text]) as k3 from old_rows source) before cross join lateral
         (select "project_user_id" as k0, "team_id" as k1, "tenancy_id" as k2, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'team_id', "team_id"::pg_catalog.text]) as k3, 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("project_user_id")::pg_catalog.oid, pg_catalog.pg_typeof("team_id")::pg_catalog.oid, pg_catalog.pg_typeof("tenancy_id")::pg_catalog.oid]) as lost from new_rows source) after
     where (after.k0 operator(pg_catalog.=) before.k0 and after.k1 operator(pg_catalog.=) before.k1 and after.k2 operator(pg_catalog.=) before.k2 and after.k3 operator(pg_catalog.=) before.k3) is not true or after.lost;
  end if;
  if found then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.team_member', (case when behind.kept then 'c' else 'd' end)::pg_catalog."char", behind.tenant_id, case when behind.tenant_id is not null then behind.row_key end, behind.matched
    from (select null::pg_catalog.pg_lsn as "project_user_id", null::pg_catalog.pg_lsn as "team_id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select before.tenant_id, before.row_key, before.matched, after.kept
            from (select "tenancy_id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['project_user_id', "project_user_id"::pg_catalog.text, 'team_id', "team_id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'team_id', "team_id"::pg_catalog.text]) as matched, "project_user_id" as k0, "team_id" as k1, "tenancy_id" as k2 from old_rows source) before
            full join (select true as kept, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'team_id', "team_id"::pg_catalog.text]) as matched, "project_user_id" as k0, "team_id" as k1, "tenancy_id" as k2 from new_rows source) after
              on before.k0 operator(pg_catalog.=) after.k0 and before.k1 operator(pg_catalog.=) after.k1 and before.k2 operator(pg_catalog.=) after.k2
           where after.kept is null or before.matched operator(pg_catalog.<>) after.matched) behind
  union all
  select 'public.team_member', 't'::pg_catalog."char", null::pg_catalog.text, null::pg_catalog.jsonb, null::pg_catalog.jsonb
    from (select null::pg_catalog.pg_lsn as "project_user_id", null::pg_catalog.pg_lsn as "team_id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("project_user_id")::pg_catalog.oid, pg_catalog.pg_typeof("team_id")::pg_catalog.oid, pg_catalog.pg_typeof("tenancy_id")::pg_catalog.oid]) as lost from new_rows source limit 1) first
   where first.lost;
  end if;
elsif tg_op operator(pg_catalog.=) 'INSERT' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.team_member', (case when changed.lost then 't' else 'c' end)::pg_catalog."char", changed.tenant_id, case when changed.tenant_id is not null then changed.row_key end, changed.matched
    from (select null::pg_catalog.pg_lsn as "project_user_id", null::pg_catalog.pg_lsn as "team_id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select "tenancy_id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['project_user_id', "project_user_id"::pg_catalog.text, 'team_id', "team_id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'team_id', "team_id"::pg_catalog.text]) as matched, 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("project_user_id")::pg_catalog.oid, pg_catalog.pg_typeof("team_id")::pg_catalog.oid, pg_catalog.pg_typeof("tenancy_id")::pg_catalog.oid]) as lost from new_rows source) changed;
elsif tg_op operator(pg_catalog.=) 'DELETE' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.team_member', (case when changed.lost then 't' else 'd' end)::pg_catalog."char", changed.tenant_id, case when changed.tenant_id is not null then changed.row_key end, changed.matched
    from (select null::pg_catalog.pg_lsn as "project_user_id", null::pg_catalog.pg_lsn as "team_id", null::pg_catalog.pg_lsn as "tenancy_id") gone cross join lateral
         (select "tenancy_id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['project_user_id', "project_user_id"::pg_catalog.text, 'team_id', "team_id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['tenancy_id', "tenancy_id"::pg_catalog.text, 'team_id', "team_id"::pg_catalog.text]) as matched, 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("project_user_id")::pg_catalog.oid, pg_catalog.pg_typeof("team_id")::pg_catalog.oid, pg_catalog.pg_typeof("tenancy_id")::pg_catalog.oid]) as lost from old_rows source) changed;
else
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key)
  values ('public.team_member', 't', null, null);
end if;
return null;
end
$$;


--
-- Name: FUNCTION capture_public_team_member_768ea27a(); Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON FUNCTION offtake.capture_public_team_member_768ea27a() IS 'Offtake has seen the partitions e3b0c44298fc1c149afbf4c8996fb924, triggers 43d12d956f5131596a910ff751ece78d, files 8e4b2d2d7349c7a64a35632329391098, columns d9398bc120147da683a3e11b09372be8, numbers 16450 {"joined_at":4,"project_user_id":2,"team_id":3,"tenancy_id":1}';


--
-- Name: capture_public_tenancy_c251857d(); Type: FUNCTION; Schema: offtake; Owner: -
--

CREATE FUNCTION offtake.capture_public_tenancy_c251857d() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    AS $$
-- Captures changes of public.tenancy for Offtake. Written by `offtake init`, which also undoes edits.
-- `gone` stands in for columns that the application drops or renames, so that its writes go on.
-- Records 5822ebee2ee63229 62d37293ca24de56 6899466a9f63bb5d 924543a79e8cbfef ea72a75730e3704c
#variable_conflict use_column
declare
  changed_rows bigint;
  some_left boolean;
begin
if tg_op operator(pg_catalog.=) 'UPDATE' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.tenancy', 'c'::pg_catalog."char", changed.tenant_id, case when changed.tenant_id is not null then changed.row_key end, changed.matched
    from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "project_id", null::pg_catalog.pg_lsn as "branch_id") gone cross join lateral
         (select "id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['id', "id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['project_id', "project_id"::pg_catalog.text, 'branch_id', "branch_id"::pg_catalog.text, 'id', "id"::pg_catalog.text]) as matched from new_rows source) changed;
  get diagnostics changed_rows = row_count;
  if changed_rows operator(pg_catalog.=) 1 then
    perform from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "project_id", null::pg_catalog.pg_lsn as "branch_id") gone cross join lateral
         (select "id" as k0, pg_catalog.jsonb_object(array['project_id', "project_id"::pg_catalog.text, 'branch_id', "branch_id"::pg_catalog.text, 'id', "id"::pg_catalog.text]) as k1 from old_rows source) before cross join lateral
         (select "id" as k0, pg_catalog.jsonb_object(array['project_id', "project_id"::pg_catalog.text, 'branch_id', "branch_id"::pg_catalog.text, 'id', "id"::pg_catalog.text]) as k1, 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("id")::pg_catalog.oid, pg_catalog.pg_typeof("project_id")::pg_catalog.oid, pg_catalog.pg_typeof("branch_id")::pg_catalog.oid]) as lost from new_rows source) after
     where (after.k0 operator(pg_catalog.=) before.k0 and after.k1 operator(pg_catalog.=) before.k1) is not true or after.lost;
  end if;
  if found then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.tenancy', (case when behind.kept then 'c' else 'd' end)::pg_catalog."char", behind.tenant_id, case when behind.tenant_id is not null then behind.row_key end, behind.matched
    from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "project_id", null::pg_catalog.pg_lsn as "branch_id") gone cross join lateral
         (select before.tenant_id, before.row_key, before.matched, after.kept
            from (select "id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['id', "id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['project_id', "project_id"::pg_catalog.text, 'branch_id', "branch_id"::pg_catalog.text, 'id', "id"::pg_catalog.text]) as matched, "id" as k0 from old_rows source) before
            full join (select true as kept, pg_catalog.jsonb_object(array['project_id', "project_id"::pg_catalog.text, 'branch_id', "branch_id"::pg_catalog.text, 'id', "id"::pg_catalog.text]) as matched, "id" as k0 from new_rows source) after
              on before.k0 operator(pg_catalog.=) after.k0
           where after.kept is null or before.matched operator(pg_catalog.<>) after.matched) behind
  union all
  select 'public.tenancy', 't'::pg_catalog."char", null::pg_catalog.text, null::pg_catalog.jsonb, null::pg_catalog.jsonb
    from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "project_id", null::pg_catalog.pg_lsn as "branch_id") gone cross join lateral
         (select 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("id")::pg_catalog.oid, pg_catalog.pg_typeof("project_id")::pg_catalog.oid, pg_catalog.pg_typeof("branch_id")::pg_catalog.oid]) as lost from new_rows source limit 1) first
   where first.lost;
  end if;
elsif tg_op operator(pg_catalog.=) 'INSERT' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.tenancy', (case when changed.lost then 't' else 'c' end)::pg_catalog."char", changed.tenant_id, case when changed.tenant_id is not null then changed.row_key end, changed.matched
    from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "project_id", null::pg_catalog.pg_lsn as "branch_id") gone cross join lateral
         (select "id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['id', "id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['project_id', "project_id"::pg_catalog.text, 'branch_id', "branch_id"::pg_catalog.text, 'id', "id"::pg_catalog.text]) as matched, 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("id")::pg_catalog.oid, pg_catalog.pg_typeof("project_id")::pg_catalog.oid, pg_catalog.pg_typeof("branch_id")::pg_catalog.oid]) as lost from new_rows source) changed;
elsif tg_op operator(pg_catalog.=) 'DELETE' then
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key, matched)
  select 'public.tenancy', (case when changed.lost then 't' else 'd' end)::pg_catalog."char", changed.tenant_id, case when changed.tenant_id is not null then changed.row_key end, changed.matched
    from (select null::pg_catalog.pg_lsn as "id", null::pg_catalog.pg_lsn as "project_id", null::pg_catalog.pg_lsn as "branch_id") gone cross join lateral
         (select "id"::pg_catalog.text as tenant_id, pg_catalog.jsonb_object(array['id', "id"::pg_catalog.text]) as row_key, pg_catalog.jsonb_object(array['project_id', "project_id"::pg_catalog.text, 'branch_id', "branch_id"::pg_catalog.text, 'id', "id"::pg_catalog.text]) as matched, 'pg_catalog.pg_lsn'::pg_catalog.regtype::pg_catalog.oid operator(pg_catalog.=) any (array[pg_catalog.pg_typeof("id")::pg_catalog.oid, pg_catalog.pg_typeof("project_id")::pg_catalog.oid, pg_catalog.pg_typeof("branch_id")::pg_catalog.oid]) as lost from old_rows source) changed;
else
  insert into offtake.captured_change (source_table, operation, tenant_id, row_key)
  values ('public.tenancy', 't', null, null);
end if;
return null;
end
$$;


--
-- Name: FUNCTION capture_public_tenancy_c251857d(); Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON FUNCTION offtake.capture_public_tenancy_c251857d() IS 'Offtake has seen the partitions e3b0c44298fc1c149afbf4c8996fb924, triggers 7ca0427c4204b56cd0abb47abbff2dca, files 96dcca6c6715f9cdd2b43773fc8f1b79, columns 805a06b6c1b2d3a66a59d94d1be75157, numbers 16391 {"branch_id":3,"created_at":5,"display_name":4,"id":1,"project_id":2}';


--
-- Name: count_destinations(); Type: FUNCTION; Schema: offtake; Owner: -
--

CREATE FUNCTION offtake.count_destinations() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if tg_op = 'INSERT' then
    insert into offtake.destination_count (mappings, source_tables, destinations)
    select mappings, source_tables, count(*) from added where active group by mappings, source_tables;
    insert into offtake.registration (destination) select destination_id from added;
  elsif tg_op = 'DELETE' then
    insert into offtake.destination_count (mappings, source_tables, destinations)
    select mappings, source_tables, -count(*) from removed where active group by mappings, source_tables;
    insert into offtake.registration (destination) select destination_id from removed;
  else
    insert into offtake.destination_count (mappings, source_tables, destinations)
    select old.mappings, old.source_tables, -1 where old.active
     union all
    select new.mappings, new.source_tables, 1 where new.active;
  end if;
  return null;
end
$$;


--
-- Name: doubt_destination(); Type: FUNCTION; Schema: offtake; Owner: -
--

CREATE FUNCTION offtake.doubt_destination() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  new.state := case when new.state = 'in_sync' then 'lagging' else new.state end;
  insert into offtake.registration (destination) values (new.destination_id);
  return new;
end
$$;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: audit; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.audit (
    destination_id bigint NOT NULL,
    attempt bigint DEFAULT 0 NOT NULL,
    leased_until timestamp with time zone,
    leased_by text,
    failures integer DEFAULT 0 NOT NULL,
    not_before timestamp with time zone DEFAULT now() NOT NULL
)
WITH (fillfactor='70');


--
-- Name: TABLE audit; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON TABLE offtake.audit IS 'Which daemon audits a destination: one at a time. A row is made by the first audit of the destination.';


--
-- Name: COLUMN audit.attempt; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.audit.attempt IS 'Raised by every claim; an auditor whose lease ran out and was taken over writes nothing.';


--
-- Name: COLUMN audit.not_before; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.audit.not_before IS 'The next claim, after a failure or when the destination was behind.';


--
-- Name: destination; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.destination (
    destination_id bigint NOT NULL,
    tenant_id text NOT NULL,
    name text NOT NULL,
    kind text DEFAULT 'postgres'::text NOT NULL,
    schema_name text NOT NULL,
    host text NOT NULL,
    port integer NOT NULL,
    database_name text NOT NULL,
    user_name text NOT NULL,
    shared boolean DEFAULT false NOT NULL,
    mappings text[] NOT NULL,
    source_tables text[] NOT NULL,
    active boolean DEFAULT true NOT NULL,
    refused text,
    state text DEFAULT 'backfilling'::text NOT NULL,
    reason text,
    sequence_id bigint,
    last_success_at timestamp with time zone,
    last_error text,
    last_error_at timestamp with time zone,
    consecutive_failures integer DEFAULT 0 NOT NULL,
    paused_at timestamp with time zone,
    paused_until timestamp with time zone,
    pause_reason text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    source_tenant_id text,
    adopt_requested_at timestamp with time zone,
    forget_requested_at timestamp with time zone,
    CONSTRAINT destination_state_check CHECK ((state = ANY (ARRAY['in_sync'::text, 'lagging'::text, 'backfilling'::text, 'degraded'::text, 'blocked'::text, 'paused'::text])))
)
WITH (fillfactor='70');


--
-- Name: TABLE destination; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON TABLE offtake.destination IS 'The registry: one row per destination known to the daemon. It holds no password; connection strings stay in memory.';


--
-- Name: COLUMN destination.source_tables; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.destination.source_tables IS 'The source table of each of its mappings, in the same order: the poller finds who cares without parsing files.';


--
-- Name: COLUMN destination.active; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.destination.active IS 'False once the configuration or the destinations query no longer names it.';


--
-- Name: COLUMN destination.refused; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.destination.refused IS 'Why the registry will not sync it at all (two tenants in one schema, an unusable URL); null normally.';


--
-- Name: COLUMN destination.state; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.destination.state IS 'As the last sync left it. What a reader is told is computed anew: see the status query.';


--
-- Name: COLUMN destination.sequence_id; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.destination.sequence_id IS 'The lowest cursor of its mappings, mirrored; the destination''s own row is the truth.';


--
-- Name: COLUMN destination.source_tenant_id; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.destination.source_tenant_id IS 'The tenant as change_log.tenant_id has it; null: as tenant_id. tenant_id stays the name by which the configuration calls the tenant.';


--
-- Name: COLUMN destination.adopt_requested_at; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.destination.adopt_requested_at IS 'An operator said that this source serves the destination from now on, whoever served it before. Null once it does.';


--
-- Name: COLUMN destination.forget_requested_at; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.destination.forget_requested_at IS 'An operator ends what is kept of this destination: no daemon writes to it any more. The row is deleted when that is done; where the command was interrupted, it is run again. Null: it is kept.';


--
-- Name: destination_mapping; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.destination_mapping (
    destination_id bigint NOT NULL,
    mapping text NOT NULL,
    sequence_id bigint NOT NULL,
    backfilled boolean NOT NULL,
    target_identity text,
    rows_done bigint DEFAULT 0 NOT NULL,
    rows_total bigint,
    backfill_started_at timestamp with time zone,
    backfill_finished_at timestamp with time zone,
    error text,
    sqlstate text,
    failures integer DEFAULT 0 NOT NULL,
    retry_at timestamp with time zone,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    need text,
    verified_at timestamp with time zone,
    differences bigint,
    audited_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    audit_error text,
    audit_progress jsonb,
    audit_untold boolean DEFAULT false NOT NULL
)
WITH (fillfactor='70');


--
-- Name: TABLE destination_mapping; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON TABLE offtake.destination_mapping IS 'Mirror of one row of a destination''s _offtake_state, for status and retention. Written after the destination''s commit, so it may be behind, never ahead.';


--
-- Name: COLUMN destination_mapping.target_identity; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.destination_mapping.target_identity IS 'oid and file of the destination''s table as last seen: a truncated, restored or replaced table has another, and is copied anew.';


--
-- Name: COLUMN destination_mapping.rows_total; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.destination_mapping.rows_total IS 'The planner''s estimate when the backfill began; null when unknown.';


--
-- Name: COLUMN destination_mapping.retry_at; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.destination_mapping.retry_at IS 'After an error of this mapping alone: when it is tried again; the other mappings of the destination go on.';


--
-- Name: COLUMN destination_mapping.need; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.destination_mapping.need IS 'The mapping''s name and a hash of what wakes it, as in numbering.needs, of the version that is copied here; told before anything is copied. Null: not known.';


--
-- Name: COLUMN destination_mapping.verified_at; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.destination_mapping.verified_at IS 'When the latest comparison began that found the copy equal to its query. What was wrong there at that time would have been found.';


--
-- Name: COLUMN destination_mapping.differences; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.destination_mapping.differences IS 'Rows that the latest comparison found to differ; null: none has ended since the copy began.';


--
-- Name: COLUMN destination_mapping.audited_at; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.destination_mapping.audited_at IS 'When the latest comparison ended, whatever it found; the oldest is next. -infinity: none has ended since the copy began.';


--
-- Name: COLUMN destination_mapping.audit_error; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.destination_mapping.audit_error IS 'Why the latest audit could not compare the copy; null: it could.';


--
-- Name: COLUMN destination_mapping.audit_progress; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.destination_mapping.audit_progress IS 'Where an audit that has not ended goes on: the key after which the next range begins, and what was found before it.';


--
-- Name: COLUMN destination_mapping.audit_untold; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.destination_mapping.audit_untold IS 'The destination''s own _offtake_state does not tell verified_at and differences yet; a worker writes them there.';


--
-- Name: fuse; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.fuse (
    name text NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    reason text,
    until timestamp with time zone,
    changed_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE fuse; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON TABLE offtake.fuse IS 'A switch that stops one loop, tenant, destination or mapping: sequencer, poller, sync, destination:TENANT/NAME, mapping:NAME. No row means enabled.';


--
-- Name: COLUMN fuse.until; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.fuse.until IS 'A blown fuse heals by itself then; null: only by command.';


--
-- Name: overlooked_mapping; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.overlooked_mapping (
    mapping text NOT NULL,
    overlooked_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE overlooked_mapping; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON TABLE offtake.overlooked_mapping IS 'A mapping whose changes a daemon with other mapping files numbered, or whose capture such a daemon rewrote, lately at overlooked_at. Some of them may have been missed. Copied anew, in place, by a daemon that knows it, once that is over.';


--
-- Name: resync_request; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.resync_request (
    resync_id bigint NOT NULL,
    destination_id bigint NOT NULL,
    mapping text NOT NULL,
    requested_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE resync_request; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON TABLE offtake.resync_request IS 'One mapping of one destination is to be copied anew, in place. Deleted once the destination''s own cursor says so: a worker that dies in between begins that copy once more, and no request is lost.';


--
-- Name: waiting_mapping; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.waiting_mapping (
    destination_id bigint NOT NULL,
    mapping text NOT NULL,
    reason text NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE waiting_mapping; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON TABLE offtake.waiting_mapping IS 'A mapping that a destination should have and that no daemon keeps: its triggers or rights are missing, or its file cannot be used. One row per destination and mapping; the loop `destinations` writes it whenever that changes.';


--
-- Name: COLUMN waiting_mapping.reason; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.waiting_mapping.reason IS 'One line: what is missing, and the command or statement that mends it.';


--
-- Name: auditable_mapping; Type: VIEW; Schema: offtake; Owner: -
--

CREATE VIEW offtake.auditable_mapping AS
 SELECT m.destination_id,
    m.mapping,
    m.audited_at,
    m.audit_progress,
    m.backfill_started_at
   FROM (offtake.destination d
     JOIN offtake.destination_mapping m USING (destination_id))
  WHERE (d.active AND (d.refused IS NULL) AND (d.consecutive_failures = 0) AND ((d.paused_at IS NULL) OR (d.paused_until <= now())) AND (m.mapping = ANY (d.mappings)) AND m.backfilled AND (m.error IS NULL) AND (NOT (EXISTS ( SELECT
           FROM offtake.resync_request q
          WHERE ((q.destination_id = d.destination_id) AND (q.mapping = m.mapping))))) AND (NOT (EXISTS ( SELECT
           FROM offtake.waiting_mapping w
          WHERE ((w.destination_id = d.destination_id) AND (w.mapping = m.mapping))))) AND (NOT (EXISTS ( SELECT
           FROM offtake.overlooked_mapping o
          WHERE (o.mapping = m.mapping)))) AND (NOT (EXISTS ( SELECT
           FROM offtake.fuse f
          WHERE ((NOT f.enabled) AND ((f.until IS NULL) OR (f.until > now())) AND (f.name = ANY (ARRAY['sync'::text, ('tenant:'::text || d.tenant_id), ('mapping:'::text || m.mapping), ((('destination:'::text || d.tenant_id) || '/'::text) || d.name)])))))));


--
-- Name: VIEW auditable_mapping; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON VIEW offtake.auditable_mapping IS 'One row per copy that the continuous audit may compare now.';


--
-- Name: captured_change; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.captured_change (
    capture_id bigint NOT NULL,
    source_table text NOT NULL,
    operation "char" NOT NULL,
    tenant_id text,
    row_key jsonb,
    matched jsonb,
    resume jsonb,
    captured_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    keys text[],
    key_count integer,
    key_column text,
    keys_deleted boolean
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='20000', autovacuum_vacuum_insert_scale_factor='0', autovacuum_vacuum_insert_threshold='100000', autovacuum_analyze_scale_factor='0', autovacuum_analyze_threshold='1000000', autovacuum_vacuum_cost_delay='0');
ALTER TABLE ONLY offtake.captured_change ALTER COLUMN keys SET STORAGE EXTERNAL;


--
-- Name: TABLE captured_change; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON TABLE offtake.captured_change IS 'A change not yet sequenced. Appended by the capture triggers inside the application''s transaction, deleted by the sequencer.';


--
-- Name: COLUMN captured_change.capture_id; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.captured_change.capture_id IS 'Capture order. Drawn before commit, so it is NOT commit order: a smaller one may become visible later.';


--
-- Name: COLUMN captured_change.source_table; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.captured_change.source_table IS 'schema.table as the mappings write it; for a partition, its root table.';


--
-- Name: COLUMN captured_change.operation; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.captured_change.operation IS 'c: the key exists or matched columns changed; d: the key left this tenant or the table; t: the whole table may have changed, or, where keys is not null, these rows; r: the sequencer''s own note where to go on expanding a change with many dependants.';


--
-- Name: COLUMN captured_change.tenant_id; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.captured_change.tenant_id IS 'Null when the tenant must be looked up, or when every tenant may be concerned.';


--
-- Name: COLUMN captured_change.row_key; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.captured_change.row_key IS 'The mapping key''s source columns as {"column": "text"}; null for a table that only others depend on.';


--
-- Name: COLUMN captured_change.matched; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.captured_change.matched IS 'The columns that dependants or the tenant''s look-up match on, as {"column": "text"}; null when there are none.';


--
-- Name: COLUMN captured_change.resume; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.captured_change.resume IS 'For operation r: {"mapping": name, "waking": which of the mapping''s ways, "after": last expanded key, or null, "tenants": of a change that was handed on, the tenants (null: every tenant) that its rows led to, or null}.';


--
-- Name: COLUMN captured_change.keys; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.captured_change.keys IS 'The keys of many rows of the tenant, in no order: the texts of key_column, or, where that is null, row keys as text.';


--
-- Name: COLUMN captured_change.key_count; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.captured_change.key_count IS 'How many keys there are; null: keys is null.';


--
-- Name: COLUMN captured_change.key_column; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.captured_change.key_column IS 'The only column of the key; null: the key has several.';


--
-- Name: COLUMN captured_change.keys_deleted; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.captured_change.keys_deleted IS 'True: the keys left this tenant or the table, as d says of one key.';


--
-- Name: captured_change_capture_id_seq; Type: SEQUENCE; Schema: offtake; Owner: -
--

ALTER TABLE offtake.captured_change ALTER COLUMN capture_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME offtake.captured_change_capture_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: change_log; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.change_log (
    sequence_id bigint NOT NULL,
    source_table text NOT NULL,
    tenant_id text,
    row_key jsonb,
    deleted boolean NOT NULL,
    captured_at timestamp with time zone NOT NULL,
    sequenced_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
)
PARTITION BY RANGE (sequence_id);


--
-- Name: TABLE change_log; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON TABLE offtake.change_log IS 'A sequenced change: "look again at this key". Append-only; partitions of 10 000 000 sequence ids, dropped by retention.';


--
-- Name: COLUMN change_log.tenant_id; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.change_log.tenant_id IS 'Null: every tenant looks again at the key.';


--
-- Name: COLUMN change_log.row_key; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.change_log.row_key IS 'As in captured_change. Null: the whole table is copied anew, in place.';


--
-- Name: COLUMN change_log.deleted; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.change_log.deleted IS 'The key left this tenant or the table (a tombstone). Information only: the sync engine reads the current state of the key.';


--
-- Name: COLUMN change_log.captured_at; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.change_log.captured_at IS 'When the trigger ran: at or before the commit of the change.';


--
-- Name: change_log_0; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.change_log_0 (
    sequence_id bigint NOT NULL,
    source_table text NOT NULL,
    tenant_id text,
    row_key jsonb,
    deleted boolean NOT NULL,
    captured_at timestamp with time zone NOT NULL,
    sequenced_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


--
-- Name: change_log_1; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.change_log_1 (
    sequence_id bigint NOT NULL,
    source_table text NOT NULL,
    tenant_id text,
    row_key jsonb,
    deleted boolean NOT NULL,
    captured_at timestamp with time zone NOT NULL,
    sequenced_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


--
-- Name: deleted_row; Type: VIEW; Schema: offtake; Owner: -
--

CREATE VIEW offtake.deleted_row AS
 SELECT change_log.sequence_id,
    change_log.source_table,
    change_log.tenant_id,
    change_log.row_key,
    change_log.captured_at AS deleted_at,
    change_log.sequenced_at
   FROM offtake.change_log
  WHERE change_log.deleted;


--
-- Name: VIEW deleted_row; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON VIEW offtake.deleted_row IS 'The tombstones: keys of rows that left a table or a tenant, never their values.';


--
-- Name: destination_count; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.destination_count (
    mappings text[] NOT NULL,
    source_tables text[] NOT NULL,
    destinations bigint NOT NULL
);


--
-- Name: TABLE destination_count; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON TABLE offtake.destination_count IS 'How many active destinations have these mappings: the sum of its rows. A statement that adds or removes destinations appends a row, so that none waits for another one; the poller''s sweep adds the rows up.';


--
-- Name: destination_destination_id_seq; Type: SEQUENCE; Schema: offtake; Owner: -
--

ALTER TABLE offtake.destination ALTER COLUMN destination_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME offtake.destination_destination_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: epoch; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.epoch (
    epoch_id uuid DEFAULT gen_random_uuid() NOT NULL,
    reason text NOT NULL,
    system_identifier text DEFAULT ((pg_control_system()).system_identifier)::text NOT NULL,
    timeline text DEFAULT "left"(pg_walfile_name(pg_current_wal_insert_lsn()), 8) NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


--
-- Name: TABLE epoch; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON TABLE offtake.epoch IS 'One row per unbroken history of this source; the latest counts. A destination''s cursor is only valid inside the epoch it was written in.';


--
-- Name: COLUMN epoch.system_identifier; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.epoch.system_identifier IS 'Of the server the history was written on: a logical restore into another server has another.';


--
-- Name: COLUMN epoch.timeline; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.epoch.timeline IS 'Of its write-ahead log: a restore to a point in time, or a promoted standby, begins another.';


--
-- Name: fan_out; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.fan_out (
    source_table text NOT NULL,
    sequence_id bigint NOT NULL,
    destination_id bigint DEFAULT 0 NOT NULL,
    next_sequence_id bigint
);


--
-- Name: TABLE fan_out; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON TABLE offtake.fan_out IS 'A change without tenant of this table, of which the poller still owes a sync to some of the destinations that have the table.';


--
-- Name: COLUMN fan_out.sequence_id; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.fan_out.sequence_id IS 'What the destinations are told in this pass: that they are owed a sync up to here, at least.';


--
-- Name: COLUMN fan_out.destination_id; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.fan_out.destination_id IS 'Destinations up to this one have been told in this pass.';


--
-- Name: COLUMN fan_out.next_sequence_id; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.fan_out.next_sequence_id IS 'The newest change since the pass began; null: none. However many there are, they are told in one more pass.';


--
-- Name: global_sequence; Type: SEQUENCE; Schema: offtake; Owner: -
--

CREATE SEQUENCE offtake.global_sequence
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: SEQUENCE global_sequence; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON SEQUENCE offtake.global_sequence IS 'Numbers committed changes. Only the sequencer advances it, under its transaction lock, so last_value is the highest sequence id given away; gaps are normal.';


--
-- Name: installation; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.installation (
    single boolean DEFAULT true NOT NULL,
    installation_id uuid DEFAULT gen_random_uuid() NOT NULL,
    installed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT installation_single_check CHECK (single)
);


--
-- Name: TABLE installation; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON TABLE offtake.installation IS 'Its one row tells this source from every other one. A copy of this database has the same row, and another database, server or timeline.';


--
-- Name: poller_position; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.poller_position (
    single boolean DEFAULT true NOT NULL,
    sequence_id bigint NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    newest jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT poller_position_single_check CHECK (single)
)
WITH (fillfactor='10');


--
-- Name: TABLE poller_position; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON TABLE offtake.poller_position IS 'Up to which sequence id the poller has turned changes into requests. Moves in the transaction that writes the requests.';


--
-- Name: COLUMN poller_position.newest; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.poller_position.newest IS 'The newest change of each source table that concerned a destination, up to the position. Moves with it.';


--
-- Name: log_head; Type: VIEW; Schema: offtake; Owner: -
--

CREATE VIEW offtake.log_head AS
 SELECT GREATEST(( SELECT max(change_log.sequence_id) AS max
           FROM offtake.change_log), ( SELECT poller_position.sequence_id
           FROM offtake.poller_position), (0)::bigint) AS sequence_id;


--
-- Name: VIEW log_head; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON VIEW offtake.log_head IS 'One row: the highest sequence id of the committed changes that this snapshot shows; 0 before the first. The poller''s position counts too: retention may have emptied the log.';


--
-- Name: migration; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.migration (
    version integer NOT NULL,
    name character varying(255),
    applied_on character varying(255),
    checksum character varying(255)
);


--
-- Name: numbering; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.numbering (
    single boolean DEFAULT true NOT NULL,
    daemon text NOT NULL,
    needs text[] NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT numbering_single_check CHECK (single)
)
WITH (fillfactor='10');


--
-- Name: TABLE numbering; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON TABLE offtake.numbering IS 'Which daemon numbered changes last, and the mappings that it numbered them for. Written under the sequencer''s lock, when either changes so that it matters; no row before the first daemon that writes it.';


--
-- Name: COLUMN numbering.needs; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.numbering.needs IS 'Per mapping its name and a hash of what wakes it. A captured change is numbered once, for the mappings that its numberer knows.';


--
-- Name: outgoing_request; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.outgoing_request (
    request_id bigint NOT NULL,
    kind text NOT NULL,
    destination_id bigint NOT NULL,
    wanted_sequence_id bigint NOT NULL,
    not_before timestamp with time zone DEFAULT now() NOT NULL,
    attempt bigint DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    leased_until timestamp with time zone,
    leased_by text,
    last_error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    owed_since timestamp with time zone DEFAULT now() NOT NULL,
    fanned_out boolean DEFAULT false NOT NULL,
    CONSTRAINT outgoing_request_kind_check CHECK ((kind = ANY (ARRAY['sync'::text, 'webhook'::text])))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.05', autovacuum_vacuum_threshold='5000', autovacuum_vacuum_cost_delay='0');


--
-- Name: TABLE outgoing_request; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON TABLE offtake.outgoing_request IS 'A destination is owed a sync up to wanted_sequence_id. One row per destination while anything is owed; deleted when its cursor has reached it.';


--
-- Name: COLUMN outgoing_request.not_before; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.outgoing_request.not_before IS 'Due from then on; also the turn order between destinations.';


--
-- Name: COLUMN outgoing_request.attempt; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.outgoing_request.attempt IS 'Raised by every claim; heartbeats and completions carry it, so a worker whose lease was taken over changes nothing here.';


--
-- Name: COLUMN outgoing_request.failures; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.outgoing_request.failures IS 'Failed attempts since the last success; greater than 0 means that not_before is a backoff and new changes do not shorten it.';


--
-- Name: COLUMN outgoing_request.fanned_out; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.outgoing_request.fanned_out IS 'Owed first because of a change that concerns every destination. So many of these wait at a time, and no more, so that other requests do not wait behind all of them.';


--
-- Name: outgoing_request_request_id_seq; Type: SEQUENCE; Schema: offtake; Owner: -
--

ALTER TABLE offtake.outgoing_request ALTER COLUMN request_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME offtake.outgoing_request_request_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: quarantined_row; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.quarantined_row (
    destination_id bigint NOT NULL,
    mapping text NOT NULL,
    row_key jsonb NOT NULL,
    sqlstate text NOT NULL,
    error text NOT NULL,
    attempts integer DEFAULT 1 NOT NULL,
    first_failed_at timestamp with time zone DEFAULT now() NOT NULL,
    last_failed_at timestamp with time zone DEFAULT now() NOT NULL,
    retry_at timestamp with time zone NOT NULL
);


--
-- Name: TABLE quarantined_row; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON TABLE offtake.quarantined_row IS 'A row that its destination refuses, by key; never its values. It is read again when it changes, at retry_at, or by command.';


--
-- Name: registration; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.registration (
    number bigint NOT NULL,
    destination bigint NOT NULL
);


--
-- Name: TABLE registration; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON TABLE offtake.registration IS 'A destination was added, changed or removed. A daemon that knows the destinations up to a number looks only at those behind it. The poller''s sweep keeps the latest ten thousand; a daemon that has missed more looks at all destinations.';


--
-- Name: COLUMN registration.destination; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.registration.destination IS 'Its destination_id; the destination may be gone.';


--
-- Name: registration_number_seq; Type: SEQUENCE; Schema: offtake; Owner: -
--

ALTER TABLE offtake.registration ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME offtake.registration_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: resync_request_resync_id_seq; Type: SEQUENCE; Schema: offtake; Owner: -
--

ALTER TABLE offtake.resync_request ALTER COLUMN resync_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME offtake.resync_request_resync_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: unlogged_table; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.unlogged_table (
    source_table text NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE unlogged_table; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON TABLE offtake.unlogged_table IS 'Captured tables that are unlogged, or were at the last look. When such a table is logged again, its row is deleted and a change of the whole table is captured, in one statement.';


--
-- Name: COLUMN unlogged_table.source_table; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON COLUMN offtake.unlogged_table.source_table IS 'schema.table, as mappings name it; a partition or child of it may be the unlogged one';


--
-- Name: visit; Type: TABLE; Schema: offtake; Owner: -
--

CREATE TABLE offtake.visit (
    destination_id bigint NOT NULL,
    number bigint NOT NULL,
    visit_id uuid DEFAULT gen_random_uuid() NOT NULL,
    visited_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE visit; Type: COMMENT; Schema: offtake; Owner: -
--

COMMENT ON TABLE offtake.visit IS 'The latest times that a worker wrote this source''s name into a destination; durable before the destination has it. A number or id found there that is not here was written by a copy of this source, or by this source before it was set back.';


--
-- Name: contact_channel; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.contact_channel (
    tenancy_id uuid NOT NULL,
    project_user_id uuid NOT NULL,
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    type public.contact_channel_type NOT NULL,
    value text NOT NULL,
    is_primary boolean DEFAULT false NOT NULL,
    is_verified boolean DEFAULT false NOT NULL
);


--
-- Name: TABLE contact_channel; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.contact_channel IS 'An e-mail address or a phone number of a user; at most one of each type is the primary one.';


--
-- Name: invitation; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.invitation (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    project_id text NOT NULL,
    branch_id text NOT NULL,
    method text DEFAULT 'email'::text NOT NULL,
    data jsonb NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    created_at timestamp(6) with time zone DEFAULT clock_timestamp() NOT NULL
);


--
-- Name: TABLE invitation; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.invitation IS 'An invitation into a team. It does not name its tenancy but the project and branch; the team and the recipient are in data.';


--
-- Name: permission; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.permission (
    tenancy_id uuid NOT NULL,
    id bigint NOT NULL,
    project_user_id uuid,
    team_id uuid,
    permission_id text NOT NULL
);


--
-- Name: TABLE permission; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.permission IS 'What a user may do: everywhere in the tenancy, or in one team; without a user, what every member of the team may do.';


--
-- Name: permission_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.permission ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.permission_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: project_user; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.project_user (
    tenancy_id uuid NOT NULL,
    project_user_id uuid DEFAULT gen_random_uuid() NOT NULL,
    display_name text,
    is_anonymous boolean DEFAULT false NOT NULL,
    profile jsonb DEFAULT '{}'::jsonb NOT NULL,
    signed_up_at timestamp(6) with time zone DEFAULT clock_timestamp() NOT NULL
);


--
-- Name: TABLE project_user; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.project_user IS 'A customer''s user. Anonymous ones exist until they sign up.';


--
-- Name: team; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.team (
    tenancy_id uuid NOT NULL,
    team_id uuid DEFAULT gen_random_uuid() NOT NULL,
    display_name text NOT NULL,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    monthly_budget numeric(14,4),
    created_at timestamp(6) with time zone DEFAULT clock_timestamp() NOT NULL
);


--
-- Name: TABLE team; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.team IS 'A team of a customer''s users.';


--
-- Name: team_member; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.team_member (
    tenancy_id uuid NOT NULL,
    project_user_id uuid NOT NULL,
    team_id uuid NOT NULL,
    joined_at timestamp(6) with time zone DEFAULT clock_timestamp() NOT NULL
);


--
-- Name: TABLE team_member; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.team_member IS 'Who is in which team.';


--
-- Name: tenancy; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.tenancy (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    project_id text NOT NULL,
    branch_id text NOT NULL,
    display_name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE tenancy; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.tenancy IS 'A customer: one branch of one project. Its id is the tenant of every row below.';


--
-- Name: change_log_0; Type: TABLE ATTACH; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.change_log ATTACH PARTITION offtake.change_log_0 FOR VALUES FROM ('0') TO ('10000000');


--
-- Name: change_log_1; Type: TABLE ATTACH; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.change_log ATTACH PARTITION offtake.change_log_1 FOR VALUES FROM ('10000000') TO ('20000000');


--
-- Data for Name: audit; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.audit (destination_id, attempt, leased_until, leased_by, failures, not_before) FROM stdin;
\.


--
-- Data for Name: captured_change; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.captured_change (capture_id, source_table, operation, tenant_id, row_key, matched, resume, captured_at, keys, key_count, key_column, keys_deleted) FROM stdin;
17	public.project_user	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "9b8e7669-a603-4ced-9f7e-748879e5c093"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "9b8e7669-a603-4ced-9f7e-748879e5c093"}	\N	2026-11-29 11:07:23.041001+00	\N	\N	\N	\N
18	public.project_user	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "b8d7fec8-5221-47b0-9c29-49c0a6dc4d26"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "b8d7fec8-5221-47b0-9c29-49c0a6dc4d26"}	\N	2026-11-29 11:07:23.041015+00	\N	\N	\N	\N
19	public.project_user	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "779f2782-3420-4a1c-87eb-3116be5d9136"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "779f2782-3420-4a1c-87eb-3116be5d9136"}	\N	2026-11-29 11:07:23.041018+00	\N	\N	\N	\N
20	public.project_user	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "ecf35354-2f84-4de3-9080-001bc6e221d5"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "ecf35354-2f84-4de3-9080-001bc6e221d5"}	\N	2026-11-29 11:07:23.041021+00	\N	\N	\N	\N
21	public.project_user	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "e3d75f30-a539-4719-8f2e-d48c453556e9"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "e3d75f30-a539-4719-8f2e-d48c453556e9"}	\N	2026-11-29 11:07:23.041023+00	\N	\N	\N	\N
22	public.project_user	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "cc1095f7-5794-46be-b644-5c886dbb4107"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "cc1095f7-5794-46be-b644-5c886dbb4107"}	\N	2026-11-29 11:07:23.041025+00	\N	\N	\N	\N
23	public.project_user	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "6ab70462-ecc1-4b75-8187-d7db342a3fd4"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "6ab70462-ecc1-4b75-8187-d7db342a3fd4"}	\N	2026-11-29 11:07:23.041027+00	\N	\N	\N	\N
24	public.project_user	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "b994fb3c-c4db-4c0b-83a7-2e95545ebcb2"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "b994fb3c-c4db-4c0b-83a7-2e95545ebcb2"}	\N	2026-11-29 11:07:23.041029+00	\N	\N	\N	\N
25	public.project_user	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "d57cc981-5d88-4848-9934-aed6c81f7baf"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "d57cc981-5d88-4848-9934-aed6c81f7baf"}	\N	2026-11-29 11:07:23.041032+00	\N	\N	\N	\N
26	public.project_user	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "950fa31e-057c-4af6-a93c-37416d1fa9ca"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "950fa31e-057c-4af6-a93c-37416d1fa9ca"}	\N	2026-11-29 11:07:23.041034+00	\N	\N	\N	\N
27	public.project_user	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "b2abd602-043b-4c96-945d-ef089c5df2de"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "b2abd602-043b-4c96-945d-ef089c5df2de"}	\N	2026-11-29 11:07:23.041036+00	\N	\N	\N	\N
28	public.project_user	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "dedc37ac-1975-4889-be54-5e9a1f055ad4"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "dedc37ac-1975-4889-be54-5e9a1f055ad4"}	\N	2026-11-29 11:07:23.041039+00	\N	\N	\N	\N
29	public.project_user	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "fc3757d6-959d-429b-928c-7ffda64dddc6"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "fc3757d6-959d-429b-928c-7ffda64dddc6"}	\N	2026-11-29 11:07:23.042199+00	\N	\N	\N	\N
30	public.project_user	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "69aa06aa-c907-42bd-bf64-84fcf7fee194"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "69aa06aa-c907-42bd-bf64-84fcf7fee194"}	\N	2026-11-29 11:07:23.042202+00	\N	\N	\N	\N
31	public.project_user	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "704d6cbd-8959-44d7-ab83-40e8740d18be"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "704d6cbd-8959-44d7-ab83-40e8740d18be"}	\N	2026-11-29 11:07:23.042204+00	\N	\N	\N	\N
32	public.project_user	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "7071f408-e140-4bb4-a3cb-e19285885d34"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "7071f408-e140-4bb4-a3cb-e19285885d34"}	\N	2026-11-29 11:07:23.042207+00	\N	\N	\N	\N
33	public.project_user	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "efe77743-188e-4700-a5f5-1eda36f0c305"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "efe77743-188e-4700-a5f5-1eda36f0c305"}	\N	2026-11-29 11:07:23.042209+00	\N	\N	\N	\N
34	public.project_user	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "096a2645-be07-4ee2-97a8-c770f3cb5eab"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "096a2645-be07-4ee2-97a8-c770f3cb5eab"}	\N	2026-11-29 11:07:23.042212+00	\N	\N	\N	\N
35	public.project_user	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "1f54db47-3a85-480a-ae64-2db7489fa01b"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "1f54db47-3a85-480a-ae64-2db7489fa01b"}	\N	2026-11-29 11:07:23.042214+00	\N	\N	\N	\N
36	public.project_user	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "3dbb6beb-cb93-416a-a483-8968c511c2cf"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "3dbb6beb-cb93-416a-a483-8968c511c2cf"}	\N	2026-11-29 11:07:23.042217+00	\N	\N	\N	\N
37	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "bce8e3a8-56b8-4a00-ae08-e1f5f478ae79", "project_user_id": "e3d75f30-a539-4719-8f2e-d48c453556e9"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "e3d75f30-a539-4719-8f2e-d48c453556e9"}	\N	2026-11-29 11:07:23.04286+00	\N	\N	\N	\N
38	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "ded969d7-78eb-47fa-b8b0-50f0863e53b2", "project_user_id": "1f54db47-3a85-480a-ae64-2db7489fa01b"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "1f54db47-3a85-480a-ae64-2db7489fa01b"}	\N	2026-11-29 11:07:23.042871+00	\N	\N	\N	\N
39	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "7c2225ee-4472-49c0-b46a-a98b69b0357c", "project_user_id": "7071f408-e140-4bb4-a3cb-e19285885d34"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "7071f408-e140-4bb4-a3cb-e19285885d34"}	\N	2026-11-29 11:07:23.042875+00	\N	\N	\N	\N
40	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "e2d52964-c889-4794-a393-ecc71a47dc6f", "project_user_id": "9b8e7669-a603-4ced-9f7e-748879e5c093"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "9b8e7669-a603-4ced-9f7e-748879e5c093"}	\N	2026-11-29 11:07:23.042877+00	\N	\N	\N	\N
41	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "9771f198-57dd-460d-a7d4-6211f18e16fa", "project_user_id": "096a2645-be07-4ee2-97a8-c770f3cb5eab"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "096a2645-be07-4ee2-97a8-c770f3cb5eab"}	\N	2026-11-29 11:07:23.04288+00	\N	\N	\N	\N
42	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "ef540de4-3995-498a-83fa-ba9b8c5fc459", "project_user_id": "b8d7fec8-5221-47b0-9c29-49c0a6dc4d26"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "b8d7fec8-5221-47b0-9c29-49c0a6dc4d26"}	\N	2026-11-29 11:07:23.042883+00	\N	\N	\N	\N
43	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "4220bddb-d6ed-4b9f-8485-d55a3f0edba8", "project_user_id": "779f2782-3420-4a1c-87eb-3116be5d9136"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "779f2782-3420-4a1c-87eb-3116be5d9136"}	\N	2026-11-29 11:07:23.042885+00	\N	\N	\N	\N
44	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "4d7400d5-2f23-477f-bebf-5a4ac18f074a", "project_user_id": "ecf35354-2f84-4de3-9080-001bc6e221d5"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "ecf35354-2f84-4de3-9080-001bc6e221d5"}	\N	2026-11-29 11:07:23.042888+00	\N	\N	\N	\N
45	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "01234f2e-67bd-4c54-a749-a99817605743", "project_user_id": "e3d75f30-a539-4719-8f2e-d48c453556e9"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "e3d75f30-a539-4719-8f2e-d48c453556e9"}	\N	2026-11-29 11:07:23.04289+00	\N	\N	\N	\N
46	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "c0c93581-b232-4a56-925b-bad7f57a0d8f", "project_user_id": "cc1095f7-5794-46be-b644-5c886dbb4107"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "cc1095f7-5794-46be-b644-5c886dbb4107"}	\N	2026-11-29 11:07:23.042893+00	\N	\N	\N	\N
47	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "d9956154-dfce-418a-9641-235af1dcd782", "project_user_id": "6ab70462-ecc1-4b75-8187-d7db342a3fd4"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "6ab70462-ecc1-4b75-8187-d7db342a3fd4"}	\N	2026-11-29 11:07:23.042895+00	\N	\N	\N	\N
48	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "bbc65a32-b0b4-47ac-886c-7cead94ae3f7", "project_user_id": "b994fb3c-c4db-4c0b-83a7-2e95545ebcb2"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "b994fb3c-c4db-4c0b-83a7-2e95545ebcb2"}	\N	2026-11-29 11:07:23.042898+00	\N	\N	\N	\N
49	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "bb54423d-f809-4211-8db1-e20800d41101", "project_user_id": "d57cc981-5d88-4848-9934-aed6c81f7baf"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "d57cc981-5d88-4848-9934-aed6c81f7baf"}	\N	2026-11-29 11:07:23.042901+00	\N	\N	\N	\N
50	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "ebd0692d-228b-4781-bd2d-ad6ec88c36a5", "project_user_id": "950fa31e-057c-4af6-a93c-37416d1fa9ca"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "950fa31e-057c-4af6-a93c-37416d1fa9ca"}	\N	2026-11-29 11:07:23.042903+00	\N	\N	\N	\N
51	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "0dda0270-1a6c-4e39-9a27-66c7a779c9ed", "project_user_id": "1f54db47-3a85-480a-ae64-2db7489fa01b"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "1f54db47-3a85-480a-ae64-2db7489fa01b"}	\N	2026-11-29 11:07:23.042907+00	\N	\N	\N	\N
101	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "50"}	\N	\N	2026-11-29 11:07:23.084127+00	\N	\N	\N	\N
102	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "51"}	\N	\N	2026-11-29 11:07:23.084132+00	\N	\N	\N	\N
52	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "f6178f12-5f4d-4439-bde1-110bfbd16515", "project_user_id": "b2abd602-043b-4c96-945d-ef089c5df2de"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "b2abd602-043b-4c96-945d-ef089c5df2de"}	\N	2026-11-29 11:07:23.042916+00	\N	\N	\N	\N
53	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "ace4b4bc-a850-4c46-a1ea-4b8477d07179", "project_user_id": "dedc37ac-1975-4889-be54-5e9a1f055ad4"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "dedc37ac-1975-4889-be54-5e9a1f055ad4"}	\N	2026-11-29 11:07:23.052008+00	\N	\N	\N	\N
54	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "d285864e-f945-4efa-a128-7aa5571bd3cf", "project_user_id": "fc3757d6-959d-429b-928c-7ffda64dddc6"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "fc3757d6-959d-429b-928c-7ffda64dddc6"}	\N	2026-11-29 11:07:23.052016+00	\N	\N	\N	\N
55	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "d161884f-030c-4dd2-b2f9-d48ef7521e20", "project_user_id": "69aa06aa-c907-42bd-bf64-84fcf7fee194"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "69aa06aa-c907-42bd-bf64-84fcf7fee194"}	\N	2026-11-29 11:07:23.052019+00	\N	\N	\N	\N
56	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "4e1f1a6f-8d10-488e-b929-4f16b48d2232", "project_user_id": "704d6cbd-8959-44d7-ab83-40e8740d18be"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "704d6cbd-8959-44d7-ab83-40e8740d18be"}	\N	2026-11-29 11:07:23.052021+00	\N	\N	\N	\N
57	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "d15ef11b-23c4-42b2-9785-65b8561a81cc", "project_user_id": "7071f408-e140-4bb4-a3cb-e19285885d34"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "7071f408-e140-4bb4-a3cb-e19285885d34"}	\N	2026-11-29 11:07:23.052024+00	\N	\N	\N	\N
58	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "1b370b35-6643-4727-8053-9b070a7b920f", "project_user_id": "3dbb6beb-cb93-416a-a483-8968c511c2cf"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "3dbb6beb-cb93-416a-a483-8968c511c2cf"}	\N	2026-11-29 11:07:23.052027+00	\N	\N	\N	\N
59	public.contact_channel	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "7c5ee69a-1304-4dad-80c8-affc8fd2e74d", "project_user_id": "efe77743-188e-4700-a5f5-1eda36f0c305"}	{"tenancy_id": "53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6", "project_user_id": "efe77743-188e-4700-a5f5-1eda36f0c305"}	\N	2026-11-29 11:07:23.052029+00	\N	\N	\N	\N
60	public.invitation	t	\N	\N	\N	\N	2026-11-29 11:07:23.071645+00	\N	\N	\N	\N
61	public.permission	d	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "3"}	\N	\N	2026-11-29 11:07:23.071872+00	\N	\N	\N	\N
62	public.permission	d	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "6"}	\N	\N	2026-11-29 11:07:23.071879+00	\N	\N	\N	\N
63	public.permission	d	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "9"}	\N	\N	2026-11-29 11:07:23.071882+00	\N	\N	\N	\N
64	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "13"}	\N	\N	2026-11-29 11:07:23.084025+00	\N	\N	\N	\N
65	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "14"}	\N	\N	2026-11-29 11:07:23.084046+00	\N	\N	\N	\N
66	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "15"}	\N	\N	2026-11-29 11:07:23.084049+00	\N	\N	\N	\N
67	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "16"}	\N	\N	2026-11-29 11:07:23.084052+00	\N	\N	\N	\N
68	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "17"}	\N	\N	2026-11-29 11:07:23.084055+00	\N	\N	\N	\N
69	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "18"}	\N	\N	2026-11-29 11:07:23.084056+00	\N	\N	\N	\N
70	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "19"}	\N	\N	2026-11-29 11:07:23.084058+00	\N	\N	\N	\N
71	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "20"}	\N	\N	2026-11-29 11:07:23.08406+00	\N	\N	\N	\N
72	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "21"}	\N	\N	2026-11-29 11:07:23.084062+00	\N	\N	\N	\N
73	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "22"}	\N	\N	2026-11-29 11:07:23.084064+00	\N	\N	\N	\N
74	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "23"}	\N	\N	2026-11-29 11:07:23.084065+00	\N	\N	\N	\N
75	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "24"}	\N	\N	2026-11-29 11:07:23.084067+00	\N	\N	\N	\N
76	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "25"}	\N	\N	2026-11-29 11:07:23.084069+00	\N	\N	\N	\N
77	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "26"}	\N	\N	2026-11-29 11:07:23.084081+00	\N	\N	\N	\N
78	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "27"}	\N	\N	2026-11-29 11:07:23.084083+00	\N	\N	\N	\N
79	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "28"}	\N	\N	2026-11-29 11:07:23.084085+00	\N	\N	\N	\N
80	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "29"}	\N	\N	2026-11-29 11:07:23.084086+00	\N	\N	\N	\N
81	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "30"}	\N	\N	2026-11-29 11:07:23.084088+00	\N	\N	\N	\N
82	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "31"}	\N	\N	2026-11-29 11:07:23.08409+00	\N	\N	\N	\N
83	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "32"}	\N	\N	2026-11-29 11:07:23.084092+00	\N	\N	\N	\N
84	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "33"}	\N	\N	2026-11-29 11:07:23.084094+00	\N	\N	\N	\N
85	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "34"}	\N	\N	2026-11-29 11:07:23.084096+00	\N	\N	\N	\N
86	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "35"}	\N	\N	2026-11-29 11:07:23.084097+00	\N	\N	\N	\N
87	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "36"}	\N	\N	2026-11-29 11:07:23.084099+00	\N	\N	\N	\N
88	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "37"}	\N	\N	2026-11-29 11:07:23.084101+00	\N	\N	\N	\N
89	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "38"}	\N	\N	2026-11-29 11:07:23.084103+00	\N	\N	\N	\N
90	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "39"}	\N	\N	2026-11-29 11:07:23.084104+00	\N	\N	\N	\N
91	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "40"}	\N	\N	2026-11-29 11:07:23.084106+00	\N	\N	\N	\N
92	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "41"}	\N	\N	2026-11-29 11:07:23.084108+00	\N	\N	\N	\N
93	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "42"}	\N	\N	2026-11-29 11:07:23.08411+00	\N	\N	\N	\N
94	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "43"}	\N	\N	2026-11-29 11:07:23.084112+00	\N	\N	\N	\N
95	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "44"}	\N	\N	2026-11-29 11:07:23.084116+00	\N	\N	\N	\N
96	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "45"}	\N	\N	2026-11-29 11:07:23.084118+00	\N	\N	\N	\N
97	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "46"}	\N	\N	2026-11-29 11:07:23.08412+00	\N	\N	\N	\N
98	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "47"}	\N	\N	2026-11-29 11:07:23.084121+00	\N	\N	\N	\N
99	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "48"}	\N	\N	2026-11-29 11:07:23.084123+00	\N	\N	\N	\N
100	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "49"}	\N	\N	2026-11-29 11:07:23.084125+00	\N	\N	\N	\N
103	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "52"}	\N	\N	2026-11-29 11:07:23.084134+00	\N	\N	\N	\N
104	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "53"}	\N	\N	2026-11-29 11:07:23.084185+00	\N	\N	\N	\N
105	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "54"}	\N	\N	2026-11-29 11:07:23.084187+00	\N	\N	\N	\N
106	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "55"}	\N	\N	2026-11-29 11:07:23.084188+00	\N	\N	\N	\N
107	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "56"}	\N	\N	2026-11-29 11:07:23.08419+00	\N	\N	\N	\N
108	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "57"}	\N	\N	2026-11-29 11:07:23.084193+00	\N	\N	\N	\N
109	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "58"}	\N	\N	2026-11-29 11:07:23.084195+00	\N	\N	\N	\N
110	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "59"}	\N	\N	2026-11-29 11:07:23.084196+00	\N	\N	\N	\N
111	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "60"}	\N	\N	2026-11-29 11:07:23.084198+00	\N	\N	\N	\N
112	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "61"}	\N	\N	2026-11-29 11:07:23.0842+00	\N	\N	\N	\N
113	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "62"}	\N	\N	2026-11-29 11:07:23.084204+00	\N	\N	\N	\N
114	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "63"}	\N	\N	2026-11-29 11:07:23.084205+00	\N	\N	\N	\N
115	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "64"}	\N	\N	2026-11-29 11:07:23.084207+00	\N	\N	\N	\N
116	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "65"}	\N	\N	2026-11-29 11:07:23.084209+00	\N	\N	\N	\N
117	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "66"}	\N	\N	2026-11-29 11:07:23.08421+00	\N	\N	\N	\N
118	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "67"}	\N	\N	2026-11-29 11:07:23.084212+00	\N	\N	\N	\N
119	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "68"}	\N	\N	2026-11-29 11:07:23.084214+00	\N	\N	\N	\N
120	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "69"}	\N	\N	2026-11-29 11:07:23.084215+00	\N	\N	\N	\N
121	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "70"}	\N	\N	2026-11-29 11:07:23.084217+00	\N	\N	\N	\N
122	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "71"}	\N	\N	2026-11-29 11:07:23.084219+00	\N	\N	\N	\N
123	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "72"}	\N	\N	2026-11-29 11:07:23.08422+00	\N	\N	\N	\N
124	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "73"}	\N	\N	2026-11-29 11:07:23.084222+00	\N	\N	\N	\N
125	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "74"}	\N	\N	2026-11-29 11:07:23.084224+00	\N	\N	\N	\N
126	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "75"}	\N	\N	2026-11-29 11:07:23.084225+00	\N	\N	\N	\N
127	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "76"}	\N	\N	2026-11-29 11:07:23.084227+00	\N	\N	\N	\N
128	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "77"}	\N	\N	2026-11-29 11:07:23.084229+00	\N	\N	\N	\N
129	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "78"}	\N	\N	2026-11-29 11:07:23.08423+00	\N	\N	\N	\N
130	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "79"}	\N	\N	2026-11-29 11:07:23.084232+00	\N	\N	\N	\N
131	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "80"}	\N	\N	2026-11-29 11:07:23.084236+00	\N	\N	\N	\N
132	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "81"}	\N	\N	2026-11-29 11:07:23.084237+00	\N	\N	\N	\N
133	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "82"}	\N	\N	2026-11-29 11:07:23.08424+00	\N	\N	\N	\N
134	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "83"}	\N	\N	2026-11-29 11:07:23.084241+00	\N	\N	\N	\N
135	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "84"}	\N	\N	2026-11-29 11:07:23.084243+00	\N	\N	\N	\N
136	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "85"}	\N	\N	2026-11-29 11:07:23.084245+00	\N	\N	\N	\N
137	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "86"}	\N	\N	2026-11-29 11:07:23.084246+00	\N	\N	\N	\N
138	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "87"}	\N	\N	2026-11-29 11:07:23.084248+00	\N	\N	\N	\N
139	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "88"}	\N	\N	2026-11-29 11:07:23.084249+00	\N	\N	\N	\N
140	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "89"}	\N	\N	2026-11-29 11:07:23.084251+00	\N	\N	\N	\N
141	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "90"}	\N	\N	2026-11-29 11:07:23.084253+00	\N	\N	\N	\N
142	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "91"}	\N	\N	2026-11-29 11:07:23.084254+00	\N	\N	\N	\N
143	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "92"}	\N	\N	2026-11-29 11:07:23.084256+00	\N	\N	\N	\N
144	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "93"}	\N	\N	2026-11-29 11:07:23.084258+00	\N	\N	\N	\N
145	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "94"}	\N	\N	2026-11-29 11:07:23.08426+00	\N	\N	\N	\N
146	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "95"}	\N	\N	2026-11-29 11:07:23.084261+00	\N	\N	\N	\N
147	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "96"}	\N	\N	2026-11-29 11:07:23.084263+00	\N	\N	\N	\N
148	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "97"}	\N	\N	2026-11-29 11:07:23.084265+00	\N	\N	\N	\N
149	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "98"}	\N	\N	2026-11-29 11:07:23.084269+00	\N	\N	\N	\N
150	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "99"}	\N	\N	2026-11-29 11:07:23.08427+00	\N	\N	\N	\N
151	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "100"}	\N	\N	2026-11-29 11:07:23.084272+00	\N	\N	\N	\N
152	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "101"}	\N	\N	2026-11-29 11:07:23.084274+00	\N	\N	\N	\N
153	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "102"}	\N	\N	2026-11-29 11:07:23.084276+00	\N	\N	\N	\N
154	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "103"}	\N	\N	2026-11-29 11:07:23.084277+00	\N	\N	\N	\N
155	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "104"}	\N	\N	2026-11-29 11:07:23.084279+00	\N	\N	\N	\N
156	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "105"}	\N	\N	2026-11-29 11:07:23.084281+00	\N	\N	\N	\N
157	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "106"}	\N	\N	2026-11-29 11:07:23.084282+00	\N	\N	\N	\N
158	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "107"}	\N	\N	2026-11-29 11:07:23.084284+00	\N	\N	\N	\N
159	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "108"}	\N	\N	2026-11-29 11:07:23.084286+00	\N	\N	\N	\N
160	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "109"}	\N	\N	2026-11-29 11:07:23.084287+00	\N	\N	\N	\N
161	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "110"}	\N	\N	2026-11-29 11:07:23.084289+00	\N	\N	\N	\N
162	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "111"}	\N	\N	2026-11-29 11:07:23.084291+00	\N	\N	\N	\N
163	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "112"}	\N	\N	2026-11-29 11:07:23.084293+00	\N	\N	\N	\N
164	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "113"}	\N	\N	2026-11-29 11:07:23.084294+00	\N	\N	\N	\N
165	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "114"}	\N	\N	2026-11-29 11:07:23.08431+00	\N	\N	\N	\N
166	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "115"}	\N	\N	2026-11-29 11:07:23.084314+00	\N	\N	\N	\N
167	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "116"}	\N	\N	2026-11-29 11:07:23.084316+00	\N	\N	\N	\N
168	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "117"}	\N	\N	2026-11-29 11:07:23.084318+00	\N	\N	\N	\N
169	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "118"}	\N	\N	2026-11-29 11:07:23.08432+00	\N	\N	\N	\N
170	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "119"}	\N	\N	2026-11-29 11:07:23.084321+00	\N	\N	\N	\N
171	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "120"}	\N	\N	2026-11-29 11:07:23.084323+00	\N	\N	\N	\N
172	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "121"}	\N	\N	2026-11-29 11:07:23.084325+00	\N	\N	\N	\N
173	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "122"}	\N	\N	2026-11-29 11:07:23.084326+00	\N	\N	\N	\N
174	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "123"}	\N	\N	2026-11-29 11:07:23.084328+00	\N	\N	\N	\N
175	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "124"}	\N	\N	2026-11-29 11:07:23.08433+00	\N	\N	\N	\N
176	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "125"}	\N	\N	2026-11-29 11:07:23.084331+00	\N	\N	\N	\N
177	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "126"}	\N	\N	2026-11-29 11:07:23.084333+00	\N	\N	\N	\N
178	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "127"}	\N	\N	2026-11-29 11:07:23.084335+00	\N	\N	\N	\N
179	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "128"}	\N	\N	2026-11-29 11:07:23.084336+00	\N	\N	\N	\N
180	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "129"}	\N	\N	2026-11-29 11:07:23.084338+00	\N	\N	\N	\N
181	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "130"}	\N	\N	2026-11-29 11:07:23.08434+00	\N	\N	\N	\N
182	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "131"}	\N	\N	2026-11-29 11:07:23.084341+00	\N	\N	\N	\N
183	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "132"}	\N	\N	2026-11-29 11:07:23.084343+00	\N	\N	\N	\N
184	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "133"}	\N	\N	2026-11-29 11:07:23.084345+00	\N	\N	\N	\N
185	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "134"}	\N	\N	2026-11-29 11:07:23.084349+00	\N	\N	\N	\N
186	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "135"}	\N	\N	2026-11-29 11:07:23.08435+00	\N	\N	\N	\N
187	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "136"}	\N	\N	2026-11-29 11:07:23.084352+00	\N	\N	\N	\N
188	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "137"}	\N	\N	2026-11-29 11:07:23.084354+00	\N	\N	\N	\N
189	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "138"}	\N	\N	2026-11-29 11:07:23.084356+00	\N	\N	\N	\N
190	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "139"}	\N	\N	2026-11-29 11:07:23.084357+00	\N	\N	\N	\N
191	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "140"}	\N	\N	2026-11-29 11:07:23.084359+00	\N	\N	\N	\N
192	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "141"}	\N	\N	2026-11-29 11:07:23.084361+00	\N	\N	\N	\N
193	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "142"}	\N	\N	2026-11-29 11:07:23.084362+00	\N	\N	\N	\N
194	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "143"}	\N	\N	2026-11-29 11:07:23.084364+00	\N	\N	\N	\N
195	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "144"}	\N	\N	2026-11-29 11:07:23.084366+00	\N	\N	\N	\N
196	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "145"}	\N	\N	2026-11-29 11:07:23.084368+00	\N	\N	\N	\N
197	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "146"}	\N	\N	2026-11-29 11:07:23.084369+00	\N	\N	\N	\N
198	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "147"}	\N	\N	2026-11-29 11:07:23.084371+00	\N	\N	\N	\N
199	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "148"}	\N	\N	2026-11-29 11:07:23.084373+00	\N	\N	\N	\N
200	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "149"}	\N	\N	2026-11-29 11:07:23.084374+00	\N	\N	\N	\N
201	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "150"}	\N	\N	2026-11-29 11:07:23.084376+00	\N	\N	\N	\N
202	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "151"}	\N	\N	2026-11-29 11:07:23.08438+00	\N	\N	\N	\N
203	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "152"}	\N	\N	2026-11-29 11:07:23.084382+00	\N	\N	\N	\N
204	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "153"}	\N	\N	2026-11-29 11:07:23.084384+00	\N	\N	\N	\N
205	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "154"}	\N	\N	2026-11-29 11:07:23.084385+00	\N	\N	\N	\N
206	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "155"}	\N	\N	2026-11-29 11:07:23.084387+00	\N	\N	\N	\N
207	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "156"}	\N	\N	2026-11-29 11:07:23.084389+00	\N	\N	\N	\N
208	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "157"}	\N	\N	2026-11-29 11:07:23.084391+00	\N	\N	\N	\N
209	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "158"}	\N	\N	2026-11-29 11:07:23.084392+00	\N	\N	\N	\N
210	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "159"}	\N	\N	2026-11-29 11:07:23.084394+00	\N	\N	\N	\N
211	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "160"}	\N	\N	2026-11-29 11:07:23.084396+00	\N	\N	\N	\N
212	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "161"}	\N	\N	2026-11-29 11:07:23.084397+00	\N	\N	\N	\N
213	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "162"}	\N	\N	2026-11-29 11:07:23.084399+00	\N	\N	\N	\N
214	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "163"}	\N	\N	2026-11-29 11:07:23.084401+00	\N	\N	\N	\N
215	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "164"}	\N	\N	2026-11-29 11:07:23.084402+00	\N	\N	\N	\N
216	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "165"}	\N	\N	2026-11-29 11:07:23.084404+00	\N	\N	\N	\N
217	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "166"}	\N	\N	2026-11-29 11:07:23.084406+00	\N	\N	\N	\N
218	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "167"}	\N	\N	2026-11-29 11:07:23.084407+00	\N	\N	\N	\N
219	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "168"}	\N	\N	2026-11-29 11:07:23.084409+00	\N	\N	\N	\N
220	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "169"}	\N	\N	2026-11-29 11:07:23.084411+00	\N	\N	\N	\N
221	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "170"}	\N	\N	2026-11-29 11:07:23.084415+00	\N	\N	\N	\N
222	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "171"}	\N	\N	2026-11-29 11:07:23.084416+00	\N	\N	\N	\N
223	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "172"}	\N	\N	2026-11-29 11:07:23.084418+00	\N	\N	\N	\N
224	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "173"}	\N	\N	2026-11-29 11:07:23.08442+00	\N	\N	\N	\N
225	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "174"}	\N	\N	2026-11-29 11:07:23.084422+00	\N	\N	\N	\N
226	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "175"}	\N	\N	2026-11-29 11:07:23.084437+00	\N	\N	\N	\N
227	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "176"}	\N	\N	2026-11-29 11:07:23.084439+00	\N	\N	\N	\N
228	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "177"}	\N	\N	2026-11-29 11:07:23.084441+00	\N	\N	\N	\N
229	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "178"}	\N	\N	2026-11-29 11:07:23.084442+00	\N	\N	\N	\N
230	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "179"}	\N	\N	2026-11-29 11:07:23.084444+00	\N	\N	\N	\N
231	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "180"}	\N	\N	2026-11-29 11:07:23.084446+00	\N	\N	\N	\N
232	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "181"}	\N	\N	2026-11-29 11:07:23.084448+00	\N	\N	\N	\N
233	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "182"}	\N	\N	2026-11-29 11:07:23.084449+00	\N	\N	\N	\N
234	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "183"}	\N	\N	2026-11-29 11:07:23.084451+00	\N	\N	\N	\N
235	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "184"}	\N	\N	2026-11-29 11:07:23.084453+00	\N	\N	\N	\N
236	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "185"}	\N	\N	2026-11-29 11:07:23.084455+00	\N	\N	\N	\N
237	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "186"}	\N	\N	2026-11-29 11:07:23.084456+00	\N	\N	\N	\N
238	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "187"}	\N	\N	2026-11-29 11:07:23.08446+00	\N	\N	\N	\N
239	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "188"}	\N	\N	2026-11-29 11:07:23.084462+00	\N	\N	\N	\N
240	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "189"}	\N	\N	2026-11-29 11:07:23.084464+00	\N	\N	\N	\N
241	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "190"}	\N	\N	2026-11-29 11:07:23.084466+00	\N	\N	\N	\N
242	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "191"}	\N	\N	2026-11-29 11:07:23.084467+00	\N	\N	\N	\N
243	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "192"}	\N	\N	2026-11-29 11:07:23.084469+00	\N	\N	\N	\N
244	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "193"}	\N	\N	2026-11-29 11:07:23.084471+00	\N	\N	\N	\N
245	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "194"}	\N	\N	2026-11-29 11:07:23.084472+00	\N	\N	\N	\N
246	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "195"}	\N	\N	2026-11-29 11:07:23.084474+00	\N	\N	\N	\N
247	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "196"}	\N	\N	2026-11-29 11:07:23.084476+00	\N	\N	\N	\N
248	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "197"}	\N	\N	2026-11-29 11:07:23.084477+00	\N	\N	\N	\N
249	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "198"}	\N	\N	2026-11-29 11:07:23.084479+00	\N	\N	\N	\N
250	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "199"}	\N	\N	2026-11-29 11:07:23.084481+00	\N	\N	\N	\N
251	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "200"}	\N	\N	2026-11-29 11:07:23.084482+00	\N	\N	\N	\N
252	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "201"}	\N	\N	2026-11-29 11:07:23.084484+00	\N	\N	\N	\N
253	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "202"}	\N	\N	2026-11-29 11:07:23.084486+00	\N	\N	\N	\N
254	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "203"}	\N	\N	2026-11-29 11:07:23.084487+00	\N	\N	\N	\N
255	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "204"}	\N	\N	2026-11-29 11:07:23.084489+00	\N	\N	\N	\N
256	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "205"}	\N	\N	2026-11-29 11:07:23.084491+00	\N	\N	\N	\N
257	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "206"}	\N	\N	2026-11-29 11:07:23.084495+00	\N	\N	\N	\N
258	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "207"}	\N	\N	2026-11-29 11:07:23.084496+00	\N	\N	\N	\N
259	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "208"}	\N	\N	2026-11-29 11:07:23.084498+00	\N	\N	\N	\N
260	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "209"}	\N	\N	2026-11-29 11:07:23.0845+00	\N	\N	\N	\N
261	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "210"}	\N	\N	2026-11-29 11:07:23.084502+00	\N	\N	\N	\N
262	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "211"}	\N	\N	2026-11-29 11:07:23.084503+00	\N	\N	\N	\N
263	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "212"}	\N	\N	2026-11-29 11:07:23.084505+00	\N	\N	\N	\N
264	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "213"}	\N	\N	2026-11-29 11:07:23.084507+00	\N	\N	\N	\N
265	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "214"}	\N	\N	2026-11-29 11:07:23.084508+00	\N	\N	\N	\N
266	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "215"}	\N	\N	2026-11-29 11:07:23.08451+00	\N	\N	\N	\N
267	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "216"}	\N	\N	2026-11-29 11:07:23.084512+00	\N	\N	\N	\N
268	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "217"}	\N	\N	2026-11-29 11:07:23.084513+00	\N	\N	\N	\N
269	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "218"}	\N	\N	2026-11-29 11:07:23.084515+00	\N	\N	\N	\N
270	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "219"}	\N	\N	2026-11-29 11:07:23.084517+00	\N	\N	\N	\N
271	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "220"}	\N	\N	2026-11-29 11:07:23.084518+00	\N	\N	\N	\N
272	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "221"}	\N	\N	2026-11-29 11:07:23.08452+00	\N	\N	\N	\N
273	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "222"}	\N	\N	2026-11-29 11:07:23.084522+00	\N	\N	\N	\N
274	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "223"}	\N	\N	2026-11-29 11:07:23.084525+00	\N	\N	\N	\N
275	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "224"}	\N	\N	2026-11-29 11:07:23.084527+00	\N	\N	\N	\N
276	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "225"}	\N	\N	2026-11-29 11:07:23.084529+00	\N	\N	\N	\N
277	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "226"}	\N	\N	2026-11-29 11:07:23.084531+00	\N	\N	\N	\N
278	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "227"}	\N	\N	2026-11-29 11:07:23.084532+00	\N	\N	\N	\N
279	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "228"}	\N	\N	2026-11-29 11:07:23.084534+00	\N	\N	\N	\N
280	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "229"}	\N	\N	2026-11-29 11:07:23.084535+00	\N	\N	\N	\N
281	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "230"}	\N	\N	2026-11-29 11:07:23.084537+00	\N	\N	\N	\N
282	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "231"}	\N	\N	2026-11-29 11:07:23.084539+00	\N	\N	\N	\N
283	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "232"}	\N	\N	2026-11-29 11:07:23.084541+00	\N	\N	\N	\N
284	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "233"}	\N	\N	2026-11-29 11:07:23.084542+00	\N	\N	\N	\N
285	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "234"}	\N	\N	2026-11-29 11:07:23.084544+00	\N	\N	\N	\N
286	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "235"}	\N	\N	2026-11-29 11:07:23.084545+00	\N	\N	\N	\N
287	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "236"}	\N	\N	2026-11-29 11:07:23.084559+00	\N	\N	\N	\N
288	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "237"}	\N	\N	2026-11-29 11:07:23.084561+00	\N	\N	\N	\N
289	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "238"}	\N	\N	2026-11-29 11:07:23.084563+00	\N	\N	\N	\N
290	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "239"}	\N	\N	2026-11-29 11:07:23.084564+00	\N	\N	\N	\N
291	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "240"}	\N	\N	2026-11-29 11:07:23.084566+00	\N	\N	\N	\N
292	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "241"}	\N	\N	2026-11-29 11:07:23.084568+00	\N	\N	\N	\N
293	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "242"}	\N	\N	2026-11-29 11:07:23.084572+00	\N	\N	\N	\N
294	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "243"}	\N	\N	2026-11-29 11:07:23.084573+00	\N	\N	\N	\N
295	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "244"}	\N	\N	2026-11-29 11:07:23.084575+00	\N	\N	\N	\N
296	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "245"}	\N	\N	2026-11-29 11:07:23.084577+00	\N	\N	\N	\N
297	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "246"}	\N	\N	2026-11-29 11:07:23.084579+00	\N	\N	\N	\N
298	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "247"}	\N	\N	2026-11-29 11:07:23.08458+00	\N	\N	\N	\N
299	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "248"}	\N	\N	2026-11-29 11:07:23.084582+00	\N	\N	\N	\N
300	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "249"}	\N	\N	2026-11-29 11:07:23.084584+00	\N	\N	\N	\N
301	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "250"}	\N	\N	2026-11-29 11:07:23.084586+00	\N	\N	\N	\N
302	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "251"}	\N	\N	2026-11-29 11:07:23.084587+00	\N	\N	\N	\N
303	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "252"}	\N	\N	2026-11-29 11:07:23.084589+00	\N	\N	\N	\N
304	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "253"}	\N	\N	2026-11-29 11:07:23.084591+00	\N	\N	\N	\N
305	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "254"}	\N	\N	2026-11-29 11:07:23.084593+00	\N	\N	\N	\N
306	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "255"}	\N	\N	2026-11-29 11:07:23.084594+00	\N	\N	\N	\N
307	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "256"}	\N	\N	2026-11-29 11:07:23.084596+00	\N	\N	\N	\N
308	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "257"}	\N	\N	2026-11-29 11:07:23.084598+00	\N	\N	\N	\N
309	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "258"}	\N	\N	2026-11-29 11:07:23.0846+00	\N	\N	\N	\N
310	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "259"}	\N	\N	2026-11-29 11:07:23.084603+00	\N	\N	\N	\N
311	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "260"}	\N	\N	2026-11-29 11:07:23.084605+00	\N	\N	\N	\N
312	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "261"}	\N	\N	2026-11-29 11:07:23.084607+00	\N	\N	\N	\N
313	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "262"}	\N	\N	2026-11-29 11:07:23.084609+00	\N	\N	\N	\N
314	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "263"}	\N	\N	2026-11-29 11:07:23.08461+00	\N	\N	\N	\N
315	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "264"}	\N	\N	2026-11-29 11:07:23.084612+00	\N	\N	\N	\N
316	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "265"}	\N	\N	2026-11-29 11:07:23.084614+00	\N	\N	\N	\N
317	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "266"}	\N	\N	2026-11-29 11:07:23.084616+00	\N	\N	\N	\N
318	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "267"}	\N	\N	2026-11-29 11:07:23.084618+00	\N	\N	\N	\N
319	public.permission	c	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "268"}	\N	\N	2026-11-29 11:07:23.084619+00	\N	\N	\N	\N
320	public.permission	t	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	\N	\N	\N	2026-11-29 11:07:23.08536+00	{269,270,271,272,273,274,275,276,277,278,279,280,281,282,283,284,285,286,287,288,289,290,291,292}	24	id	f
\.


--
-- Data for Name: change_log_0; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.change_log_0 (sequence_id, source_table, tenant_id, row_key, deleted, captured_at, sequenced_at) FROM stdin;
2	public.team	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.790297+00
3	public.invitation	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "1e83d9f1-7fd3-43a1-8f3c-8db65d22f2a2"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.800818+00
4	public.invitation	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "b9f306b3-6e6c-4bf2-9a6c-955f93c00d71"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.800855+00
5	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "096a2645-be07-4ee2-97a8-c770f3cb5eab"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.811914+00
6	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "1f54db47-3a85-480a-ae64-2db7489fa01b"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.811945+00
7	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "3dbb6beb-cb93-416a-a483-8968c511c2cf"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.811949+00
8	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "69aa06aa-c907-42bd-bf64-84fcf7fee194"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.811951+00
9	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "6ab70462-ecc1-4b75-8187-d7db342a3fd4"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.81196+00
10	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "704d6cbd-8959-44d7-ab83-40e8740d18be"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.811963+00
11	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "7071f408-e140-4bb4-a3cb-e19285885d34"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.811965+00
12	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "779f2782-3420-4a1c-87eb-3116be5d9136"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.811967+00
13	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "950fa31e-057c-4af6-a93c-37416d1fa9ca"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.811969+00
14	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "9b8e7669-a603-4ced-9f7e-748879e5c093"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.811971+00
15	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "b2abd602-043b-4c96-945d-ef089c5df2de"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.811973+00
16	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "b8d7fec8-5221-47b0-9c29-49c0a6dc4d26"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.811975+00
17	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "b994fb3c-c4db-4c0b-83a7-2e95545ebcb2"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.811977+00
18	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "cc1095f7-5794-46be-b644-5c886dbb4107"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.81198+00
19	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "d57cc981-5d88-4848-9934-aed6c81f7baf"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.811984+00
20	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "dedc37ac-1975-4889-be54-5e9a1f055ad4"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.811986+00
21	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "e3d75f30-a539-4719-8f2e-d48c453556e9"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.811988+00
22	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "ecf35354-2f84-4de3-9080-001bc6e221d5"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.81199+00
23	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "efe77743-188e-4700-a5f5-1eda36f0c305"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.811993+00
24	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "fc3757d6-959d-429b-928c-7ffda64dddc6"}	f	2026-11-29 11:07:21.191627+00	2026-11-29 11:07:21.811995+00
25	public.project_user	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "096a2645-be07-4ee2-97a8-c770f3cb5eab"}	f	2026-11-29 11:07:22.215322+00	2026-11-29 11:07:23.002005+00
26	public.project_user	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "1f54db47-3a85-480a-ae64-2db7489fa01b"}	f	2026-11-29 11:07:22.215337+00	2026-11-29 11:07:23.002042+00
27	public.project_user	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"project_user_id": "3dbb6beb-cb93-416a-a483-8968c511c2cf"}	f	2026-11-29 11:07:22.215375+00	2026-11-29 11:07:23.002046+00
28	public.team	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "1d1b473c-f5fe-46ce-869e-0b9edea633d8"}	t	2026-11-29 11:07:22.216589+00	2026-11-29 11:07:23.002049+00
29	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "1d1b473c-f5fe-46ce-869e-0b9edea633d8", "project_user_id": "9b8e7669-a603-4ced-9f7e-748879e5c093"}	t	2026-11-29 11:07:22.216953+00	2026-11-29 11:07:23.002139+00
30	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "1d1b473c-f5fe-46ce-869e-0b9edea633d8", "project_user_id": "b8d7fec8-5221-47b0-9c29-49c0a6dc4d26"}	t	2026-11-29 11:07:22.216961+00	2026-11-29 11:07:23.002144+00
31	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "1d1b473c-f5fe-46ce-869e-0b9edea633d8", "project_user_id": "ecf35354-2f84-4de3-9080-001bc6e221d5"}	t	2026-11-29 11:07:22.216965+00	2026-11-29 11:07:23.002146+00
32	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "1d1b473c-f5fe-46ce-869e-0b9edea633d8", "project_user_id": "cc1095f7-5794-46be-b644-5c886dbb4107"}	t	2026-11-29 11:07:22.216968+00	2026-11-29 11:07:23.002149+00
33	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "1d1b473c-f5fe-46ce-869e-0b9edea633d8", "project_user_id": "b994fb3c-c4db-4c0b-83a7-2e95545ebcb2"}	t	2026-11-29 11:07:22.216976+00	2026-11-29 11:07:23.002154+00
34	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "1d1b473c-f5fe-46ce-869e-0b9edea633d8", "project_user_id": "950fa31e-057c-4af6-a93c-37416d1fa9ca"}	t	2026-11-29 11:07:22.216979+00	2026-11-29 11:07:23.002157+00
35	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "1d1b473c-f5fe-46ce-869e-0b9edea633d8", "project_user_id": "b2abd602-043b-4c96-945d-ef089c5df2de"}	t	2026-11-29 11:07:22.216982+00	2026-11-29 11:07:23.00216+00
36	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "1d1b473c-f5fe-46ce-869e-0b9edea633d8", "project_user_id": "fc3757d6-959d-429b-928c-7ffda64dddc6"}	t	2026-11-29 11:07:22.216985+00	2026-11-29 11:07:23.002163+00
37	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "1d1b473c-f5fe-46ce-869e-0b9edea633d8", "project_user_id": "704d6cbd-8959-44d7-ab83-40e8740d18be"}	t	2026-11-29 11:07:22.216988+00	2026-11-29 11:07:23.002165+00
38	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "1d1b473c-f5fe-46ce-869e-0b9edea633d8", "project_user_id": "3dbb6beb-cb93-416a-a483-8968c511c2cf"}	t	2026-11-29 11:07:22.21699+00	2026-11-29 11:07:23.002168+00
39	public.permission	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "12"}	t	2026-11-29 11:07:22.217512+00	2026-11-29 11:07:23.00217+00
40	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "096a2645-be07-4ee2-97a8-c770f3cb5eab"}	f	2026-11-29 11:07:22.215322+00	2026-11-29 11:07:23.012073+00
41	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "1f54db47-3a85-480a-ae64-2db7489fa01b"}	f	2026-11-29 11:07:22.215337+00	2026-11-29 11:07:23.013262+00
42	public.team_member	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c", "project_user_id": "3dbb6beb-cb93-416a-a483-8968c511c2cf"}	f	2026-11-29 11:07:22.215375+00	2026-11-29 11:07:23.013266+00
43	public.invitation	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "cad6370e-301d-4ac2-9389-fe2b5ec05a8c"}	f	2026-11-29 11:07:22.216589+00	2026-11-29 11:07:23.016615+00
44	public.invitation	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	{"id": "dce982da-dd27-4f83-bf48-09149ff76aba"}	f	2026-11-29 11:07:22.216589+00	2026-11-29 11:07:23.016638+00
\.


--
-- Data for Name: change_log_1; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.change_log_1 (sequence_id, source_table, tenant_id, row_key, deleted, captured_at, sequenced_at) FROM stdin;
\.


--
-- Data for Name: destination; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.destination (destination_id, tenant_id, name, kind, schema_name, host, port, database_name, user_name, shared, mappings, source_tables, active, refused, state, reason, sequence_id, last_success_at, last_error, last_error_at, consecutive_failures, paused_at, paused_until, pause_reason, created_at, updated_at, source_tenant_id, adopt_requested_at, forget_requested_at) FROM stdin;
1	53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	main	postgres	public	127.0.0.1	45833	destination_8905_1	postgres	f	{contact_channels,invitations,permissions,team_members,teams,tenancies,users}	{public.contact_channel,public.invitation,public.permission,public.team_member,public.team,public.tenancy,public.project_user}	t	\N	in_sync	\N	24	2026-11-29 11:07:21.880901+00	\N	\N	0	\N	\N	\N	2026-11-29 11:07:20.19565+00	2026-11-29 11:07:21.880901+00	\N	\N	\N
\.


--
-- Data for Name: destination_count; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.destination_count (mappings, source_tables, destinations) FROM stdin;
{contact_channels,invitations,permissions,team_members,teams,tenancies,users}	{public.contact_channel,public.invitation,public.permission,public.team_member,public.team,public.tenancy,public.project_user}	1
\.


--
-- Data for Name: destination_mapping; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.destination_mapping (destination_id, mapping, sequence_id, backfilled, target_identity, rows_done, rows_total, backfill_started_at, backfill_finished_at, error, sqlstate, failures, retry_at, updated_at, need, verified_at, differences, audited_at, audit_error, audit_progress, audit_untold) FROM stdin;
1	contact_channels	24	t	16392:16392	26	4	2026-11-29 11:07:20.51966+00	2026-11-29 11:07:20.51966+00	\N	\N	0	\N	2026-11-29 11:07:21.880901+00	contact_channels ce973ad8d87f7969	\N	\N	-infinity	\N	\N	f
1	invitations	24	t	16399:16399	4	1	2026-11-29 11:07:20.51966+00	2026-11-29 11:07:20.558992+00	\N	\N	0	\N	2026-11-29 11:07:21.880901+00	invitations 8ebc48bd3327b637	\N	\N	-infinity	\N	\N	f
1	permissions	24	t	16406:16406	12	4	2026-11-29 11:07:20.51966+00	2026-11-29 11:07:20.575117+00	\N	\N	0	\N	2026-11-29 11:07:21.880901+00	permissions 48e7415aa7dfd751	\N	\N	-infinity	\N	\N	f
1	team_members	24	t	16413:16413	30	6	2026-11-29 11:07:20.51966+00	2026-11-29 11:07:20.598996+00	\N	\N	0	\N	2026-11-29 11:07:21.880901+00	team_members c3d3abc2a909cf81	\N	\N	-infinity	\N	\N	f
1	teams	24	t	16420:16420	2	3	2026-11-29 11:07:20.51966+00	2026-11-29 11:07:20.62111+00	\N	\N	0	\N	2026-11-29 11:07:21.880901+00	teams 9881f2d25a3a322c	\N	\N	-infinity	\N	\N	f
1	tenancies	24	t	16427:16427	1	1	2026-11-29 11:07:20.51966+00	2026-11-29 11:07:20.639878+00	\N	\N	0	\N	2026-11-29 11:07:21.880901+00	tenancies 8ec19f8664a7a61a	\N	\N	-infinity	\N	\N	f
1	users	24	t	16434:16434	18	2	2026-11-29 11:07:20.51966+00	2026-11-29 11:07:20.667351+00	\N	\N	0	\N	2026-11-29 11:07:21.880901+00	users 638edcdcb93e0e12	\N	\N	-infinity	\N	\N	f
\.


--
-- Data for Name: epoch; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.epoch (epoch_id, reason, system_identifier, timeline, started_at) FROM stdin;
982a5f5c-1c9b-4b28-b58a-f875d785dc01	offtake init	7713548377846067941	00000001	2026-11-29 11:07:19.290681+00
\.


--
-- Data for Name: fan_out; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.fan_out (source_table, sequence_id, destination_id, next_sequence_id) FROM stdin;
\.


--
-- Data for Name: fuse; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.fuse (name, enabled, reason, until, changed_at) FROM stdin;
sync	f	an upgrade	\N	2026-11-29 11:07:22.21298+00
\.


--
-- Data for Name: installation; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.installation (single, installation_id, installed_at) FROM stdin;
t	359e3c94-fcd6-44d7-9db3-3b11b002d00c	2026-11-29 11:07:19.433674+00
\.


--
-- Data for Name: migration; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.migration (version, name, applied_on, checksum) FROM stdin;
1	offtake_schema	2026-11-29T11:07:19.183525095Z	11790130102642781035
2	resync_requests	2026-11-29T11:07:19.347759648Z	3984480776583670050
3	paused_destinations	2026-11-29T11:07:19.367234042Z	15828445177646021296
4	who_numbers	2026-11-29T11:07:19.371338619Z	5531989931092185510
5	log_head_and_leftovers	2026-11-29T11:07:19.392838257Z	3785299221186637845
6	unlogged_tables	2026-11-29T11:07:19.399992818Z	2108914089447077875
7	tenants_as_the_source_prints_them	2026-11-29T11:07:19.413429657Z	11296860212782795707
8	waiting_mappings	2026-11-29T11:07:19.419699085Z	10070396230838737970
9	who_serves	2026-11-29T11:07:19.433601665Z	8682420471522603620
10	continuous_audit	2026-11-29T11:07:19.44770348Z	196007665758595661
11	forgotten_destinations	2026-11-29T11:07:19.471535135Z	2002570519892611108
12	fan_outs	2026-11-29T11:07:19.472275073Z	1386483433776746048
13	captures_without_check	2026-11-29T11:07:19.487523378Z	17568345798026130018
14	lists_of_keys	2026-11-29T11:07:19.488217277Z	9923352322287406976
15	many_destinations	2026-11-29T11:07:19.4889946Z	12364326819119463359
16	counted_destinations	2026-11-29T11:07:19.503432544Z	13366585756157037494
\.


--
-- Data for Name: numbering; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.numbering (single, daemon, needs, since) FROM stdin;
t	9098-c21e165d1597d17f	{"contact_channels ce973ad8d87f7969","invitations 8ebc48bd3327b637","permissions 48e7415aa7dfd751","team_members c3d3abc2a909cf81","teams 9881f2d25a3a322c","tenancies 8ec19f8664a7a61a","users 638edcdcb93e0e12"}	2026-11-29 11:07:22.880014+00
\.


--
-- Data for Name: outgoing_request; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.outgoing_request (request_id, kind, destination_id, wanted_sequence_id, not_before, attempt, failures, leased_until, leased_by, last_error, created_at, owed_since, fanned_out) FROM stdin;
4	sync	1	44	2026-11-29 11:07:22.892891+00	0	0	\N	\N	\N	2026-11-29 11:07:22.892891+00	2026-11-29 11:07:22.892891+00	f
\.


--
-- Data for Name: overlooked_mapping; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.overlooked_mapping (mapping, overlooked_at) FROM stdin;
\.


--
-- Data for Name: poller_position; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.poller_position (single, sequence_id, updated_at, newest) FROM stdin;
t	44	2026-11-29 11:07:23.032254+00	{"public.team": 28, "public.invitation": 44, "public.permission": 39, "public.team_member": 42, "public.project_user": 27}
\.


--
-- Data for Name: quarantined_row; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.quarantined_row (destination_id, mapping, row_key, sqlstate, error, attempts, first_failed_at, last_failed_at, retry_at) FROM stdin;
1	teams	{"team_id": "2ff3773b-353f-4a63-b981-2a246bf5db8c"}	23514	new row for relation "teams" violates check constraint "teams_refuse" (23514)	1	2026-11-29 11:07:21.872206+00	2026-11-29 11:07:21.872206+00	2026-11-29 11:08:21.872206+00
\.


--
-- Data for Name: registration; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.registration (number, destination) FROM stdin;
1	1
\.


--
-- Data for Name: resync_request; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.resync_request (resync_id, destination_id, mapping, requested_at) FROM stdin;
\.


--
-- Data for Name: unlogged_table; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.unlogged_table (source_table, seen_at) FROM stdin;
\.


--
-- Data for Name: visit; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.visit (destination_id, number, visit_id, visited_at) FROM stdin;
1	1	fac54ec5-30f0-46c7-8043-6d1efa75dfa4	2026-11-29 11:07:20.343077+00
1	2	b231a6b7-8910-4477-9339-6b5526e16b39	2026-11-29 11:07:21.834017+00
\.


--
-- Data for Name: waiting_mapping; Type: TABLE DATA; Schema: offtake; Owner: -
--

COPY offtake.waiting_mapping (destination_id, mapping, reason, since) FROM stdin;
\.


--
-- Data for Name: contact_channel; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.contact_channel (tenancy_id, project_user_id, id, type, value, is_primary, is_verified) FROM stdin;
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	b8d7fec8-5221-47b0-9c29-49c0a6dc4d26	bb6584fc-652e-4e72-ba46-a8a7d03cb657	phone	+49 30 100003	f	f
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	b994fb3c-c4db-4c0b-83a7-2e95545ebcb2	c7b9eef2-0d37-4ebc-87f9-54462199f565	phone	+49 30 100009	f	f
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	fc3757d6-959d-429b-928c-7ffda64dddc6	89c6f7bf-8a47-47eb-b47c-defb06045591	phone	+49 30 100015	f	f
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	e3d75f30-a539-4719-8f2e-d48c453556e9	bce8e3a8-56b8-4a00-ae08-e1f5f478ae79	phone	new.+49 30 100006	t	f
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	1f54db47-3a85-480a-ae64-2db7489fa01b	ded969d7-78eb-47fa-b8b0-50f0863e53b2	phone	new.+49 30 100012	t	f
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	7071f408-e140-4bb4-a3cb-e19285885d34	7c2225ee-4472-49c0-b46a-a98b69b0357c	phone	new.+49 30 100018	t	f
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	9b8e7669-a603-4ced-9f7e-748879e5c093	e2d52964-c889-4794-a393-ecc71a47dc6f	email	new.user1@example.com	t	t
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	096a2645-be07-4ee2-97a8-c770f3cb5eab	9771f198-57dd-460d-a7d4-6211f18e16fa	email	new.user2@example.com	t	t
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	b8d7fec8-5221-47b0-9c29-49c0a6dc4d26	ef540de4-3995-498a-83fa-ba9b8c5fc459	email	new.user3@example.com	t	f
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	779f2782-3420-4a1c-87eb-3116be5d9136	4220bddb-d6ed-4b9f-8485-d55a3f0edba8	email	new.user4@example.com	t	t
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	ecf35354-2f84-4de3-9080-001bc6e221d5	4d7400d5-2f23-477f-bebf-5a4ac18f074a	email	new.user5@example.com	t	t
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	e3d75f30-a539-4719-8f2e-d48c453556e9	01234f2e-67bd-4c54-a749-a99817605743	email	new.user6@example.com	t	f
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	cc1095f7-5794-46be-b644-5c886dbb4107	c0c93581-b232-4a56-925b-bad7f57a0d8f	email	new.user7@example.com	t	t
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	6ab70462-ecc1-4b75-8187-d7db342a3fd4	d9956154-dfce-418a-9641-235af1dcd782	email	new.user8@example.com	t	t
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	b994fb3c-c4db-4c0b-83a7-2e95545ebcb2	bbc65a32-b0b4-47ac-886c-7cead94ae3f7	email	new.user9@example.com	t	f
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	d57cc981-5d88-4848-9934-aed6c81f7baf	bb54423d-f809-4211-8db1-e20800d41101	email	new.user10@example.com	t	t
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	950fa31e-057c-4af6-a93c-37416d1fa9ca	ebd0692d-228b-4781-bd2d-ad6ec88c36a5	email	new.user11@example.com	t	t
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	1f54db47-3a85-480a-ae64-2db7489fa01b	0dda0270-1a6c-4e39-9a27-66c7a779c9ed	email	new.user12@example.com	t	f
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	b2abd602-043b-4c96-945d-ef089c5df2de	f6178f12-5f4d-4439-bde1-110bfbd16515	email	new.user13@example.com	t	t
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	dedc37ac-1975-4889-be54-5e9a1f055ad4	ace4b4bc-a850-4c46-a1ea-4b8477d07179	email	new.user14@example.com	t	t
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	fc3757d6-959d-429b-928c-7ffda64dddc6	d285864e-f945-4efa-a128-7aa5571bd3cf	email	new.user15@example.com	t	f
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	69aa06aa-c907-42bd-bf64-84fcf7fee194	d161884f-030c-4dd2-b2f9-d48ef7521e20	email	new.user16@example.com	t	t
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	704d6cbd-8959-44d7-ab83-40e8740d18be	4e1f1a6f-8d10-488e-b929-4f16b48d2232	email	new.user17@example.com	t	t
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	7071f408-e140-4bb4-a3cb-e19285885d34	d15ef11b-23c4-42b2-9785-65b8561a81cc	email	new.user18@example.com	t	f
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	3dbb6beb-cb93-416a-a483-8968c511c2cf	1b370b35-6643-4727-8053-9b070a7b920f	email	new.user19@example.com	t	t
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	efe77743-188e-4700-a5f5-1eda36f0c305	7c5ee69a-1304-4dad-80c8-affc8fd2e74d	email	new.user20@example.com	t	t
\.


--
-- Data for Name: invitation; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.invitation (id, project_id, branch_id, method, data, expires_at, created_at) FROM stdin;
\.


--
-- Data for Name: permission; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.permission (tenancy_id, id, project_user_id, team_id, permission_id) FROM stdin;
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	1	096a2645-be07-4ee2-97a8-c770f3cb5eab	\N	read
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	2	779f2782-3420-4a1c-87eb-3116be5d9136	\N	read
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	4	6ab70462-ecc1-4b75-8187-d7db342a3fd4	\N	read
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	5	d57cc981-5d88-4848-9934-aed6c81f7baf	\N	read
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	7	dedc37ac-1975-4889-be54-5e9a1f055ad4	\N	read
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	8	69aa06aa-c907-42bd-bf64-84fcf7fee194	\N	read
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	10	efe77743-188e-4700-a5f5-1eda36f0c305	\N	read
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	11	\N	2ff3773b-353f-4a63-b981-2a246bf5db8c	write
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	13	\N	\N	p1
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	14	\N	\N	p2
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	15	\N	\N	p3
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	16	\N	\N	p4
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	17	\N	\N	p5
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	18	\N	\N	p6
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	19	\N	\N	p7
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	20	\N	\N	p8
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	21	\N	\N	p9
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	22	\N	\N	p10
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	23	\N	\N	p11
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	24	\N	\N	p12
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	25	\N	\N	p13
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	26	\N	\N	p14
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	27	\N	\N	p15
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	28	\N	\N	p16
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	29	\N	\N	p17
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	30	\N	\N	p18
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	31	\N	\N	p19
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	32	\N	\N	p20
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	33	\N	\N	p21
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	34	\N	\N	p22
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	35	\N	\N	p23
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	36	\N	\N	p24
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	37	\N	\N	p25
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	38	\N	\N	p26
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	39	\N	\N	p27
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	40	\N	\N	p28
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	41	\N	\N	p29
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	42	\N	\N	p30
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	43	\N	\N	p31
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	44	\N	\N	p32
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	45	\N	\N	p33
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	46	\N	\N	p34
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	47	\N	\N	p35
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	48	\N	\N	p36
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	49	\N	\N	p37
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	50	\N	\N	p38
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	51	\N	\N	p39
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	52	\N	\N	p40
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	53	\N	\N	p41
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	54	\N	\N	p42
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	55	\N	\N	p43
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	56	\N	\N	p44
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	57	\N	\N	p45
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	58	\N	\N	p46
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	59	\N	\N	p47
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	60	\N	\N	p48
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	61	\N	\N	p49
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	62	\N	\N	p50
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	63	\N	\N	p51
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	64	\N	\N	p52
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	65	\N	\N	p53
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	66	\N	\N	p54
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	67	\N	\N	p55
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	68	\N	\N	p56
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	69	\N	\N	p57
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	70	\N	\N	p58
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	71	\N	\N	p59
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	72	\N	\N	p60
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	73	\N	\N	p61
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	74	\N	\N	p62
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	75	\N	\N	p63
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	76	\N	\N	p64
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	77	\N	\N	p65
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	78	\N	\N	p66
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	79	\N	\N	p67
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	80	\N	\N	p68
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	81	\N	\N	p69
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	82	\N	\N	p70
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	83	\N	\N	p71
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	84	\N	\N	p72
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	85	\N	\N	p73
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	86	\N	\N	p74
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	87	\N	\N	p75
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	88	\N	\N	p76
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	89	\N	\N	p77
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	90	\N	\N	p78
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	91	\N	\N	p79
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	92	\N	\N	p80
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	93	\N	\N	p81
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	94	\N	\N	p82
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	95	\N	\N	p83
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	96	\N	\N	p84
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	97	\N	\N	p85
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	98	\N	\N	p86
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	99	\N	\N	p87
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	100	\N	\N	p88
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	101	\N	\N	p89
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	102	\N	\N	p90
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	103	\N	\N	p91
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	104	\N	\N	p92
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	105	\N	\N	p93
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	106	\N	\N	p94
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	107	\N	\N	p95
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	108	\N	\N	p96
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	109	\N	\N	p97
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	110	\N	\N	p98
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	111	\N	\N	p99
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	112	\N	\N	p100
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	113	\N	\N	p101
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	114	\N	\N	p102
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	115	\N	\N	p103
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	116	\N	\N	p104
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	117	\N	\N	p105
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	118	\N	\N	p106
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	119	\N	\N	p107
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	120	\N	\N	p108
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	121	\N	\N	p109
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	122	\N	\N	p110
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	123	\N	\N	p111
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	124	\N	\N	p112
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	125	\N	\N	p113
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	126	\N	\N	p114
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	127	\N	\N	p115
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	128	\N	\N	p116
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	129	\N	\N	p117
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	130	\N	\N	p118
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	131	\N	\N	p119
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	132	\N	\N	p120
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	133	\N	\N	p121
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	134	\N	\N	p122
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	135	\N	\N	p123
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	136	\N	\N	p124
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	137	\N	\N	p125
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	138	\N	\N	p126
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	139	\N	\N	p127
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	140	\N	\N	p128
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	141	\N	\N	p129
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	142	\N	\N	p130
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	143	\N	\N	p131
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	144	\N	\N	p132
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	145	\N	\N	p133
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	146	\N	\N	p134
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	147	\N	\N	p135
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	148	\N	\N	p136
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	149	\N	\N	p137
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	150	\N	\N	p138
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	151	\N	\N	p139
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	152	\N	\N	p140
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	153	\N	\N	p141
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	154	\N	\N	p142
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	155	\N	\N	p143
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	156	\N	\N	p144
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	157	\N	\N	p145
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	158	\N	\N	p146
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	159	\N	\N	p147
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	160	\N	\N	p148
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	161	\N	\N	p149
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	162	\N	\N	p150
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	163	\N	\N	p151
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	164	\N	\N	p152
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	165	\N	\N	p153
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	166	\N	\N	p154
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	167	\N	\N	p155
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	168	\N	\N	p156
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	169	\N	\N	p157
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	170	\N	\N	p158
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	171	\N	\N	p159
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	172	\N	\N	p160
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	173	\N	\N	p161
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	174	\N	\N	p162
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	175	\N	\N	p163
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	176	\N	\N	p164
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	177	\N	\N	p165
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	178	\N	\N	p166
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	179	\N	\N	p167
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	180	\N	\N	p168
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	181	\N	\N	p169
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	182	\N	\N	p170
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	183	\N	\N	p171
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	184	\N	\N	p172
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	185	\N	\N	p173
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	186	\N	\N	p174
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	187	\N	\N	p175
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	188	\N	\N	p176
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	189	\N	\N	p177
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	190	\N	\N	p178
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	191	\N	\N	p179
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	192	\N	\N	p180
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	193	\N	\N	p181
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	194	\N	\N	p182
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	195	\N	\N	p183
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	196	\N	\N	p184
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	197	\N	\N	p185
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	198	\N	\N	p186
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	199	\N	\N	p187
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	200	\N	\N	p188
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	201	\N	\N	p189
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	202	\N	\N	p190
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	203	\N	\N	p191
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	204	\N	\N	p192
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	205	\N	\N	p193
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	206	\N	\N	p194
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	207	\N	\N	p195
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	208	\N	\N	p196
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	209	\N	\N	p197
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	210	\N	\N	p198
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	211	\N	\N	p199
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	212	\N	\N	p200
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	213	\N	\N	p201
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	214	\N	\N	p202
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	215	\N	\N	p203
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	216	\N	\N	p204
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	217	\N	\N	p205
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	218	\N	\N	p206
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	219	\N	\N	p207
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	220	\N	\N	p208
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	221	\N	\N	p209
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	222	\N	\N	p210
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	223	\N	\N	p211
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	224	\N	\N	p212
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	225	\N	\N	p213
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	226	\N	\N	p214
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	227	\N	\N	p215
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	228	\N	\N	p216
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	229	\N	\N	p217
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	230	\N	\N	p218
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	231	\N	\N	p219
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	232	\N	\N	p220
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	233	\N	\N	p221
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	234	\N	\N	p222
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	235	\N	\N	p223
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	236	\N	\N	p224
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	237	\N	\N	p225
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	238	\N	\N	p226
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	239	\N	\N	p227
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	240	\N	\N	p228
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	241	\N	\N	p229
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	242	\N	\N	p230
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	243	\N	\N	p231
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	244	\N	\N	p232
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	245	\N	\N	p233
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	246	\N	\N	p234
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	247	\N	\N	p235
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	248	\N	\N	p236
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	249	\N	\N	p237
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	250	\N	\N	p238
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	251	\N	\N	p239
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	252	\N	\N	p240
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	253	\N	\N	p241
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	254	\N	\N	p242
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	255	\N	\N	p243
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	256	\N	\N	p244
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	257	\N	\N	p245
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	258	\N	\N	p246
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	259	\N	\N	p247
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	260	\N	\N	p248
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	261	\N	\N	p249
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	262	\N	\N	p250
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	263	\N	\N	p251
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	264	\N	\N	p252
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	265	\N	\N	p253
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	266	\N	\N	p254
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	267	\N	\N	p255
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	268	\N	\N	p256
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	269	\N	\N	p257
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	270	\N	\N	p258
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	271	\N	\N	p259
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	272	\N	\N	p260
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	273	\N	\N	p261
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	274	\N	\N	p262
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	275	\N	\N	p263
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	276	\N	\N	p264
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	277	\N	\N	p265
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	278	\N	\N	p266
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	279	\N	\N	p267
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	280	\N	\N	p268
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	281	\N	\N	p269
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	282	\N	\N	p270
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	283	\N	\N	p271
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	284	\N	\N	p272
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	285	\N	\N	p273
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	286	\N	\N	p274
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	287	\N	\N	p275
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	288	\N	\N	p276
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	289	\N	\N	p277
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	290	\N	\N	p278
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	291	\N	\N	p279
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	292	\N	\N	p280
\.


--
-- Data for Name: project_user; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.project_user (tenancy_id, project_user_id, display_name, is_anonymous, profile, signed_up_at) FROM stdin;
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	9b8e7669-a603-4ced-9f7e-748879e5c093	User 1 captured	f	{"labels": ["trial", 1], "locale": "de", "visits": 7}	2026-11-29 11:06:18.730714+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	b8d7fec8-5221-47b0-9c29-49c0a6dc4d26	User 3 captured	f	{"labels": ["trial", 3], "locale": "pt", "visits": 21}	2026-11-29 11:04:18.730714+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	779f2782-3420-4a1c-87eb-3116be5d9136	User 4 captured	f	{"labels": ["trial", 4], "locale": "en", "visits": 28}	2026-11-29 11:03:18.730714+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	ecf35354-2f84-4de3-9080-001bc6e221d5	User 5 captured	f	{"labels": ["trial", 5], "locale": "de", "visits": 35}	2026-11-29 11:02:18.730714+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	e3d75f30-a539-4719-8f2e-d48c453556e9	User 6 captured	f	{"labels": ["trial", 6], "locale": "ja", "visits": 42}	2026-11-29 11:01:18.730714+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	cc1095f7-5794-46be-b644-5c886dbb4107	User 7 captured	f	{"labels": ["trial", 7], "locale": "pt", "visits": 49}	2026-11-29 11:00:18.730714+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	6ab70462-ecc1-4b75-8187-d7db342a3fd4	User 8 captured	f	{"labels": ["trial", 8], "locale": "en", "visits": 56}	2026-11-29 10:59:18.730714+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	b994fb3c-c4db-4c0b-83a7-2e95545ebcb2	User 9 captured	f	{"labels": ["trial", 9], "locale": "de", "visits": 63}	2026-11-29 10:58:18.730714+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	d57cc981-5d88-4848-9934-aed6c81f7baf	User 10 captured	t	{"labels": ["trial", 10], "locale": "ja", "visits": 70}	2026-11-29 10:57:18.730714+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	950fa31e-057c-4af6-a93c-37416d1fa9ca	User 11 captured	f	{"labels": ["trial", 11], "locale": "pt", "visits": 77}	2026-11-29 10:56:18.730714+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	b2abd602-043b-4c96-945d-ef089c5df2de	User 13 captured	f	{"labels": ["trial", 13], "locale": "de", "visits": 91}	2026-11-29 10:54:18.730714+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	dedc37ac-1975-4889-be54-5e9a1f055ad4	User 14 captured	f	{"labels": ["trial", 14], "locale": "ja", "visits": 98}	2026-11-29 10:53:18.730714+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	fc3757d6-959d-429b-928c-7ffda64dddc6	User 15 captured	f	{"labels": ["trial", 15], "locale": "pt", "visits": 105}	2026-11-29 10:52:18.730714+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	69aa06aa-c907-42bd-bf64-84fcf7fee194	User 16 captured	f	{"labels": ["trial", 16], "locale": "en", "visits": 112}	2026-11-29 10:51:18.730714+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	704d6cbd-8959-44d7-ab83-40e8740d18be	User 17 captured	f	{"labels": ["trial", 17], "locale": "de", "visits": 119}	2026-11-29 10:50:18.730714+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	7071f408-e140-4bb4-a3cb-e19285885d34	User 18 captured	f	{"labels": ["trial", 18], "locale": "ja", "visits": 126}	2026-11-29 10:49:18.730714+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	efe77743-188e-4700-a5f5-1eda36f0c305	User 20 captured	t	{"labels": ["trial", 20], "locale": "en", "visits": 140}	2026-11-29 10:47:18.730714+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	096a2645-be07-4ee2-97a8-c770f3cb5eab	User 2 numbered captured	f	{"labels": ["trial", 2], "locale": "ja", "visits": 14}	2026-11-29 11:05:18.730714+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	1f54db47-3a85-480a-ae64-2db7489fa01b	User 12 numbered captured	f	{"labels": ["trial", 12], "locale": "en", "visits": 84}	2026-11-29 10:55:18.730714+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	3dbb6beb-cb93-416a-a483-8968c511c2cf	User 19 numbered captured	f	{"labels": ["trial", 19], "locale": "pt", "visits": 133}	2026-11-29 10:48:18.730714+00
\.


--
-- Data for Name: team; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.team (tenancy_id, team_id, display_name, tags, monthly_budget, created_at) FROM stdin;
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	2ff3773b-353f-4a63-b981-2a246bf5db8c	refused	{sample,"no 1"}	1234.5678	2026-11-29 11:07:18.740599+00
\.


--
-- Data for Name: team_member; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.team_member (tenancy_id, project_user_id, team_id, joined_at) FROM stdin;
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	9b8e7669-a603-4ced-9f7e-748879e5c093	2ff3773b-353f-4a63-b981-2a246bf5db8c	2026-11-29 11:07:18.752107+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	096a2645-be07-4ee2-97a8-c770f3cb5eab	2ff3773b-353f-4a63-b981-2a246bf5db8c	2026-11-29 11:07:18.75211+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	b8d7fec8-5221-47b0-9c29-49c0a6dc4d26	2ff3773b-353f-4a63-b981-2a246bf5db8c	2026-11-29 11:07:18.752114+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	779f2782-3420-4a1c-87eb-3116be5d9136	2ff3773b-353f-4a63-b981-2a246bf5db8c	2026-11-29 11:07:18.752116+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	ecf35354-2f84-4de3-9080-001bc6e221d5	2ff3773b-353f-4a63-b981-2a246bf5db8c	2026-11-29 11:07:18.752119+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	e3d75f30-a539-4719-8f2e-d48c453556e9	2ff3773b-353f-4a63-b981-2a246bf5db8c	2026-11-29 11:07:18.75212+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	cc1095f7-5794-46be-b644-5c886dbb4107	2ff3773b-353f-4a63-b981-2a246bf5db8c	2026-11-29 11:07:18.752124+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	6ab70462-ecc1-4b75-8187-d7db342a3fd4	2ff3773b-353f-4a63-b981-2a246bf5db8c	2026-11-29 11:07:18.752125+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	b994fb3c-c4db-4c0b-83a7-2e95545ebcb2	2ff3773b-353f-4a63-b981-2a246bf5db8c	2026-11-29 11:07:18.752128+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	d57cc981-5d88-4848-9934-aed6c81f7baf	2ff3773b-353f-4a63-b981-2a246bf5db8c	2026-11-29 11:07:18.75213+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	950fa31e-057c-4af6-a93c-37416d1fa9ca	2ff3773b-353f-4a63-b981-2a246bf5db8c	2026-11-29 11:07:18.752133+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	1f54db47-3a85-480a-ae64-2db7489fa01b	2ff3773b-353f-4a63-b981-2a246bf5db8c	2026-11-29 11:07:18.752135+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	b2abd602-043b-4c96-945d-ef089c5df2de	2ff3773b-353f-4a63-b981-2a246bf5db8c	2026-11-29 11:07:18.752138+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	dedc37ac-1975-4889-be54-5e9a1f055ad4	2ff3773b-353f-4a63-b981-2a246bf5db8c	2026-11-29 11:07:18.75214+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	fc3757d6-959d-429b-928c-7ffda64dddc6	2ff3773b-353f-4a63-b981-2a246bf5db8c	2026-11-29 11:07:18.752143+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	69aa06aa-c907-42bd-bf64-84fcf7fee194	2ff3773b-353f-4a63-b981-2a246bf5db8c	2026-11-29 11:07:18.752145+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	704d6cbd-8959-44d7-ab83-40e8740d18be	2ff3773b-353f-4a63-b981-2a246bf5db8c	2026-11-29 11:07:18.752148+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	7071f408-e140-4bb4-a3cb-e19285885d34	2ff3773b-353f-4a63-b981-2a246bf5db8c	2026-11-29 11:07:18.75215+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	3dbb6beb-cb93-416a-a483-8968c511c2cf	2ff3773b-353f-4a63-b981-2a246bf5db8c	2026-11-29 11:07:18.752153+00
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	efe77743-188e-4700-a5f5-1eda36f0c305	2ff3773b-353f-4a63-b981-2a246bf5db8c	2026-11-29 11:07:18.752155+00
\.


--
-- Data for Name: tenancy; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.tenancy (id, project_id, branch_id, display_name, created_at) FROM stdin;
53bce4f1-dfa0-fe8e-7ca1-26f91b35d3a6	acme	main	acme	2026-11-29 11:07:18.475005+00
\.


--
-- Name: captured_change_capture_id_seq; Type: SEQUENCE SET; Schema: offtake; Owner: -
--

SELECT pg_catalog.setval('offtake.captured_change_capture_id_seq', 320, true);


--
-- Name: destination_destination_id_seq; Type: SEQUENCE SET; Schema: offtake; Owner: -
--

SELECT pg_catalog.setval('offtake.destination_destination_id_seq', 3, true);


--
-- Name: global_sequence; Type: SEQUENCE SET; Schema: offtake; Owner: -
--

SELECT pg_catalog.setval('offtake.global_sequence', 44, true);


--
-- Name: outgoing_request_request_id_seq; Type: SEQUENCE SET; Schema: offtake; Owner: -
--

SELECT pg_catalog.setval('offtake.outgoing_request_request_id_seq', 5, true);


--
-- Name: registration_number_seq; Type: SEQUENCE SET; Schema: offtake; Owner: -
--

SELECT pg_catalog.setval('offtake.registration_number_seq', 1, true);


--
-- Name: resync_request_resync_id_seq; Type: SEQUENCE SET; Schema: offtake; Owner: -
--

SELECT pg_catalog.setval('offtake.resync_request_resync_id_seq', 1, false);


--
-- Name: permission_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.permission_id_seq', 292, true);


--
-- Name: audit audit_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (destination_id);


--
-- Name: captured_change captured_change_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.captured_change
    ADD CONSTRAINT captured_change_pkey PRIMARY KEY (capture_id);


--
-- Name: change_log change_log_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.change_log
    ADD CONSTRAINT change_log_pkey PRIMARY KEY (sequence_id);


--
-- Name: change_log_0 change_log_0_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.change_log_0
    ADD CONSTRAINT change_log_0_pkey PRIMARY KEY (sequence_id);


--
-- Name: change_log_1 change_log_1_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.change_log_1
    ADD CONSTRAINT change_log_1_pkey PRIMARY KEY (sequence_id);


--
-- Name: destination_mapping destination_mapping_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.destination_mapping
    ADD CONSTRAINT destination_mapping_pkey PRIMARY KEY (destination_id, mapping);


--
-- Name: destination destination_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.destination
    ADD CONSTRAINT destination_pkey PRIMARY KEY (destination_id);


--
-- Name: destination destination_tenant_id_name_key; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.destination
    ADD CONSTRAINT destination_tenant_id_name_key UNIQUE (tenant_id, name);


--
-- Name: epoch epoch_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.epoch
    ADD CONSTRAINT epoch_pkey PRIMARY KEY (epoch_id);


--
-- Name: fan_out fan_out_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.fan_out
    ADD CONSTRAINT fan_out_pkey PRIMARY KEY (source_table);


--
-- Name: fuse fuse_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.fuse
    ADD CONSTRAINT fuse_pkey PRIMARY KEY (name);


--
-- Name: installation installation_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.installation
    ADD CONSTRAINT installation_pkey PRIMARY KEY (single);


--
-- Name: migration migration_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.migration
    ADD CONSTRAINT migration_pkey PRIMARY KEY (version);


--
-- Name: numbering numbering_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.numbering
    ADD CONSTRAINT numbering_pkey PRIMARY KEY (single);


--
-- Name: outgoing_request outgoing_request_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.outgoing_request
    ADD CONSTRAINT outgoing_request_pkey PRIMARY KEY (request_id);


--
-- Name: overlooked_mapping overlooked_mapping_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.overlooked_mapping
    ADD CONSTRAINT overlooked_mapping_pkey PRIMARY KEY (mapping);


--
-- Name: poller_position poller_position_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.poller_position
    ADD CONSTRAINT poller_position_pkey PRIMARY KEY (single);


--
-- Name: quarantined_row quarantined_row_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.quarantined_row
    ADD CONSTRAINT quarantined_row_pkey PRIMARY KEY (destination_id, mapping, row_key);


--
-- Name: registration registration_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.registration
    ADD CONSTRAINT registration_pkey PRIMARY KEY (number);


--
-- Name: resync_request resync_request_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.resync_request
    ADD CONSTRAINT resync_request_pkey PRIMARY KEY (resync_id);


--
-- Name: unlogged_table unlogged_table_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.unlogged_table
    ADD CONSTRAINT unlogged_table_pkey PRIMARY KEY (source_table);


--
-- Name: visit visit_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.visit
    ADD CONSTRAINT visit_pkey PRIMARY KEY (destination_id, number);


--
-- Name: waiting_mapping waiting_mapping_pkey; Type: CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.waiting_mapping
    ADD CONSTRAINT waiting_mapping_pkey PRIMARY KEY (destination_id, mapping);


--
-- Name: contact_channel contact_channel_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.contact_channel
    ADD CONSTRAINT contact_channel_pkey PRIMARY KEY (tenancy_id, project_user_id, id);


--
-- Name: invitation invitation_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.invitation
    ADD CONSTRAINT invitation_pkey PRIMARY KEY (id);


--
-- Name: permission permission_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.permission
    ADD CONSTRAINT permission_pkey PRIMARY KEY (tenancy_id, id);


--
-- Name: project_user project_user_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.project_user
    ADD CONSTRAINT project_user_pkey PRIMARY KEY (tenancy_id, project_user_id);


--
-- Name: team_member team_member_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.team_member
    ADD CONSTRAINT team_member_pkey PRIMARY KEY (tenancy_id, project_user_id, team_id);


--
-- Name: team team_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.team
    ADD CONSTRAINT team_pkey PRIMARY KEY (tenancy_id, team_id);


--
-- Name: tenancy tenancy_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tenancy
    ADD CONSTRAINT tenancy_pkey PRIMARY KEY (id);


--
-- Name: tenancy tenancy_project_id_branch_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tenancy
    ADD CONSTRAINT tenancy_project_id_branch_id_key UNIQUE (project_id, branch_id);


--
-- Name: change_log_deleted; Type: INDEX; Schema: offtake; Owner: -
--

CREATE INDEX change_log_deleted ON ONLY offtake.change_log USING btree (source_table) WHERE deleted;


--
-- Name: change_log_0_source_table_idx; Type: INDEX; Schema: offtake; Owner: -
--

CREATE INDEX change_log_0_source_table_idx ON offtake.change_log_0 USING btree (source_table) WHERE deleted;


--
-- Name: change_log_tenant; Type: INDEX; Schema: offtake; Owner: -
--

CREATE INDEX change_log_tenant ON ONLY offtake.change_log USING btree (tenant_id, source_table, sequence_id);


--
-- Name: change_log_0_tenant_id_source_table_sequence_id_idx; Type: INDEX; Schema: offtake; Owner: -
--

CREATE INDEX change_log_0_tenant_id_source_table_sequence_id_idx ON offtake.change_log_0 USING btree (tenant_id, source_table, sequence_id);


--
-- Name: change_log_1_source_table_idx; Type: INDEX; Schema: offtake; Owner: -
--

CREATE INDEX change_log_1_source_table_idx ON offtake.change_log_1 USING btree (source_table) WHERE deleted;


--
-- Name: change_log_1_tenant_id_source_table_sequence_id_idx; Type: INDEX; Schema: offtake; Owner: -
--

CREATE INDEX change_log_1_tenant_id_source_table_sequence_id_idx ON offtake.change_log_1 USING btree (tenant_id, source_table, sequence_id);


--
-- Name: destination_mapping_audited; Type: INDEX; Schema: offtake; Owner: -
--

CREATE INDEX destination_mapping_audited ON offtake.destination_mapping USING btree (audited_at);


--
-- Name: destination_mapping_retry; Type: INDEX; Schema: offtake; Owner: -
--

CREATE INDEX destination_mapping_retry ON offtake.destination_mapping USING btree (retry_at) WHERE (retry_at IS NOT NULL);


--
-- Name: destination_mapping_unsettled; Type: INDEX; Schema: offtake; Owner: -
--

CREATE INDEX destination_mapping_unsettled ON offtake.destination_mapping USING btree (destination_id) WHERE ((NOT backfilled) OR (error IS NOT NULL) OR (failures > 0) OR (differences > 0));


--
-- Name: destination_mapping_untold; Type: INDEX; Schema: offtake; Owner: -
--

CREATE INDEX destination_mapping_untold ON offtake.destination_mapping USING btree (destination_id) WHERE audit_untold;


--
-- Name: destination_paused; Type: INDEX; Schema: offtake; Owner: -
--

CREATE INDEX destination_paused ON offtake.destination USING btree (destination_id) WHERE (paused_at IS NOT NULL);


--
-- Name: destination_tenant_in_log; Type: INDEX; Schema: offtake; Owner: -
--

CREATE INDEX destination_tenant_in_log ON offtake.destination USING btree (COALESCE(source_tenant_id, tenant_id));


--
-- Name: destination_unsettled; Type: INDEX; Schema: offtake; Owner: -
--

CREATE INDEX destination_unsettled ON offtake.destination USING btree (destination_id) WHERE (active AND ((state <> 'in_sync'::text) OR (refused IS NOT NULL) OR (consecutive_failures > 0) OR (paused_at IS NOT NULL)));


--
-- Name: destination_visited; Type: INDEX; Schema: offtake; Owner: -
--

CREATE INDEX destination_visited ON offtake.destination USING btree (last_success_at);


--
-- Name: outgoing_request_due; Type: INDEX; Schema: offtake; Owner: -
--

CREATE INDEX outgoing_request_due ON offtake.outgoing_request USING btree (not_before);


--
-- Name: outgoing_request_failing; Type: INDEX; Schema: offtake; Owner: -
--

CREATE INDEX outgoing_request_failing ON offtake.outgoing_request USING btree (not_before) WHERE (failures > 0);


--
-- Name: outgoing_request_sync; Type: INDEX; Schema: offtake; Owner: -
--

CREATE UNIQUE INDEX outgoing_request_sync ON offtake.outgoing_request USING btree (destination_id) WHERE (kind = 'sync'::text);


--
-- Name: quarantined_row_retry; Type: INDEX; Schema: offtake; Owner: -
--

CREATE INDEX quarantined_row_retry ON offtake.quarantined_row USING btree (retry_at);


--
-- Name: resync_request_destination; Type: INDEX; Schema: offtake; Owner: -
--

CREATE INDEX resync_request_destination ON offtake.resync_request USING btree (destination_id);


--
-- Name: contact_channel_primary; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX contact_channel_primary ON public.contact_channel USING btree (tenancy_id, project_user_id, type) WHERE is_primary;


--
-- Name: invitation_team; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX invitation_team ON public.invitation USING btree (((data ->> 'team_id'::text)));


--
-- Name: invitation_tenancy; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX invitation_tenancy ON public.invitation USING btree (project_id, branch_id, id);


--
-- Name: permission_team; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX permission_team ON public.permission USING btree (tenancy_id, team_id);


--
-- Name: permission_user; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX permission_user ON public.permission USING btree (tenancy_id, project_user_id);


--
-- Name: team_id_as_text; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX team_id_as_text ON public.team USING btree (tenancy_id, ((team_id)::text));


--
-- Name: team_member_team; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX team_member_team ON public.team_member USING btree (tenancy_id, team_id);


--
-- Name: change_log_0_pkey; Type: INDEX ATTACH; Schema: offtake; Owner: -
--

ALTER INDEX offtake.change_log_pkey ATTACH PARTITION offtake.change_log_0_pkey;


--
-- Name: change_log_0_source_table_idx; Type: INDEX ATTACH; Schema: offtake; Owner: -
--

ALTER INDEX offtake.change_log_deleted ATTACH PARTITION offtake.change_log_0_source_table_idx;


--
-- Name: change_log_0_tenant_id_source_table_sequence_id_idx; Type: INDEX ATTACH; Schema: offtake; Owner: -
--

ALTER INDEX offtake.change_log_tenant ATTACH PARTITION offtake.change_log_0_tenant_id_source_table_sequence_id_idx;


--
-- Name: change_log_1_pkey; Type: INDEX ATTACH; Schema: offtake; Owner: -
--

ALTER INDEX offtake.change_log_pkey ATTACH PARTITION offtake.change_log_1_pkey;


--
-- Name: change_log_1_source_table_idx; Type: INDEX ATTACH; Schema: offtake; Owner: -
--

ALTER INDEX offtake.change_log_deleted ATTACH PARTITION offtake.change_log_1_source_table_idx;


--
-- Name: change_log_1_tenant_id_source_table_sequence_id_idx; Type: INDEX ATTACH; Schema: offtake; Owner: -
--

ALTER INDEX offtake.change_log_tenant ATTACH PARTITION offtake.change_log_1_tenant_id_source_table_sequence_id_idx;


--
-- Name: destination destination_changed; Type: TRIGGER; Schema: offtake; Owner: -
--

CREATE TRIGGER destination_changed AFTER UPDATE OF active, mappings, source_tables ON offtake.destination FOR EACH ROW WHEN ((((old.active IS DISTINCT FROM new.active) OR (old.mappings IS DISTINCT FROM new.mappings)) OR (old.source_tables IS DISTINCT FROM new.source_tables))) EXECUTE FUNCTION offtake.count_destinations();


--
-- Name: destination destination_doubted; Type: TRIGGER; Schema: offtake; Owner: -
--

CREATE TRIGGER destination_doubted BEFORE UPDATE OF schema_name, host, port, database_name, user_name, shared, mappings, source_tables, active, refused, source_tenant_id ON offtake.destination FOR EACH ROW WHEN ((((((((((((old.schema_name IS DISTINCT FROM new.schema_name) OR (old.host IS DISTINCT FROM new.host)) OR (old.port IS DISTINCT FROM new.port)) OR (old.database_name IS DISTINCT FROM new.database_name)) OR (old.user_name IS DISTINCT FROM new.user_name)) OR (old.shared IS DISTINCT FROM new.shared)) OR (old.mappings IS DISTINCT FROM new.mappings)) OR (old.source_tables IS DISTINCT FROM new.source_tables)) OR (old.active IS DISTINCT FROM new.active)) OR (old.refused IS DISTINCT FROM new.refused)) OR (old.source_tenant_id IS DISTINCT FROM new.source_tenant_id))) EXECUTE FUNCTION offtake.doubt_destination();


--
-- Name: destination destinations_added; Type: TRIGGER; Schema: offtake; Owner: -
--

CREATE TRIGGER destinations_added AFTER INSERT ON offtake.destination REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION offtake.count_destinations();


--
-- Name: destination destinations_removed; Type: TRIGGER; Schema: offtake; Owner: -
--

CREATE TRIGGER destinations_removed AFTER DELETE ON offtake.destination REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION offtake.count_destinations();


--
-- Name: contact_channel offtake_capture_delete; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_delete AFTER DELETE ON public.contact_channel REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_contact_channel_1ba0a812();

ALTER TABLE public.contact_channel ENABLE ALWAYS TRIGGER offtake_capture_delete;


--
-- Name: invitation offtake_capture_delete; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_delete AFTER DELETE ON public.invitation REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_invitation_591473d6();

ALTER TABLE public.invitation ENABLE ALWAYS TRIGGER offtake_capture_delete;


--
-- Name: permission offtake_capture_delete; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_delete AFTER DELETE ON public.permission REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_permission_57c2eb71();

ALTER TABLE public.permission ENABLE ALWAYS TRIGGER offtake_capture_delete;


--
-- Name: project_user offtake_capture_delete; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_delete AFTER DELETE ON public.project_user REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_project_user_a2c629b9();

ALTER TABLE public.project_user ENABLE ALWAYS TRIGGER offtake_capture_delete;


--
-- Name: team offtake_capture_delete; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_delete AFTER DELETE ON public.team REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_team_6830a475();

ALTER TABLE public.team ENABLE ALWAYS TRIGGER offtake_capture_delete;


--
-- Name: team_member offtake_capture_delete; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_delete AFTER DELETE ON public.team_member REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_team_member_768ea27a();

ALTER TABLE public.team_member ENABLE ALWAYS TRIGGER offtake_capture_delete;


--
-- Name: tenancy offtake_capture_delete; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_delete AFTER DELETE ON public.tenancy REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_tenancy_c251857d();

ALTER TABLE public.tenancy ENABLE ALWAYS TRIGGER offtake_capture_delete;


--
-- Name: contact_channel offtake_capture_insert; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_insert AFTER INSERT ON public.contact_channel REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_contact_channel_1ba0a812();

ALTER TABLE public.contact_channel ENABLE ALWAYS TRIGGER offtake_capture_insert;


--
-- Name: invitation offtake_capture_insert; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_insert AFTER INSERT ON public.invitation REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_invitation_591473d6();

ALTER TABLE public.invitation ENABLE ALWAYS TRIGGER offtake_capture_insert;


--
-- Name: permission offtake_capture_insert; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_insert AFTER INSERT ON public.permission REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_permission_57c2eb71();

ALTER TABLE public.permission ENABLE ALWAYS TRIGGER offtake_capture_insert;


--
-- Name: project_user offtake_capture_insert; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_insert AFTER INSERT ON public.project_user REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_project_user_a2c629b9();

ALTER TABLE public.project_user ENABLE ALWAYS TRIGGER offtake_capture_insert;


--
-- Name: team offtake_capture_insert; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_insert AFTER INSERT ON public.team REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_team_6830a475();

ALTER TABLE public.team ENABLE ALWAYS TRIGGER offtake_capture_insert;


--
-- Name: team_member offtake_capture_insert; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_insert AFTER INSERT ON public.team_member REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_team_member_768ea27a();

ALTER TABLE public.team_member ENABLE ALWAYS TRIGGER offtake_capture_insert;


--
-- Name: tenancy offtake_capture_insert; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_insert AFTER INSERT ON public.tenancy REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_tenancy_c251857d();

ALTER TABLE public.tenancy ENABLE ALWAYS TRIGGER offtake_capture_insert;


--
-- Name: contact_channel offtake_capture_truncate; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_truncate AFTER TRUNCATE ON public.contact_channel FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_contact_channel_1ba0a812();

ALTER TABLE public.contact_channel ENABLE ALWAYS TRIGGER offtake_capture_truncate;


--
-- Name: invitation offtake_capture_truncate; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_truncate AFTER TRUNCATE ON public.invitation FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_invitation_591473d6();

ALTER TABLE public.invitation ENABLE ALWAYS TRIGGER offtake_capture_truncate;


--
-- Name: permission offtake_capture_truncate; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_truncate AFTER TRUNCATE ON public.permission FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_permission_57c2eb71();

ALTER TABLE public.permission ENABLE ALWAYS TRIGGER offtake_capture_truncate;


--
-- Name: project_user offtake_capture_truncate; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_truncate AFTER TRUNCATE ON public.project_user FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_project_user_a2c629b9();

ALTER TABLE public.project_user ENABLE ALWAYS TRIGGER offtake_capture_truncate;


--
-- Name: team offtake_capture_truncate; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_truncate AFTER TRUNCATE ON public.team FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_team_6830a475();

ALTER TABLE public.team ENABLE ALWAYS TRIGGER offtake_capture_truncate;


--
-- Name: team_member offtake_capture_truncate; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_truncate AFTER TRUNCATE ON public.team_member FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_team_member_768ea27a();

ALTER TABLE public.team_member ENABLE ALWAYS TRIGGER offtake_capture_truncate;


--
-- Name: tenancy offtake_capture_truncate; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_truncate AFTER TRUNCATE ON public.tenancy FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_tenancy_c251857d();

ALTER TABLE public.tenancy ENABLE ALWAYS TRIGGER offtake_capture_truncate;


--
-- Name: contact_channel offtake_capture_update; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_update AFTER UPDATE ON public.contact_channel REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_contact_channel_1ba0a812();

ALTER TABLE public.contact_channel ENABLE ALWAYS TRIGGER offtake_capture_update;


--
-- Name: invitation offtake_capture_update; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_update AFTER UPDATE ON public.invitation REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_invitation_591473d6();

ALTER TABLE public.invitation ENABLE ALWAYS TRIGGER offtake_capture_update;


--
-- Name: permission offtake_capture_update; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_update AFTER UPDATE ON public.permission REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_permission_57c2eb71();

ALTER TABLE public.permission ENABLE ALWAYS TRIGGER offtake_capture_update;


--
-- Name: project_user offtake_capture_update; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_update AFTER UPDATE ON public.project_user REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_project_user_a2c629b9();

ALTER TABLE public.project_user ENABLE ALWAYS TRIGGER offtake_capture_update;


--
-- Name: team offtake_capture_update; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_update AFTER UPDATE ON public.team REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_team_6830a475();

ALTER TABLE public.team ENABLE ALWAYS TRIGGER offtake_capture_update;


--
-- Name: team_member offtake_capture_update; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_update AFTER UPDATE ON public.team_member REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_team_member_768ea27a();

ALTER TABLE public.team_member ENABLE ALWAYS TRIGGER offtake_capture_update;


--
-- Name: tenancy offtake_capture_update; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER offtake_capture_update AFTER UPDATE ON public.tenancy REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION offtake.capture_public_tenancy_c251857d();

ALTER TABLE public.tenancy ENABLE ALWAYS TRIGGER offtake_capture_update;


--
-- Name: audit audit_destination_id_fkey; Type: FK CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.audit
    ADD CONSTRAINT audit_destination_id_fkey FOREIGN KEY (destination_id) REFERENCES offtake.destination(destination_id) ON DELETE CASCADE;


--
-- Name: destination_mapping destination_mapping_destination_id_fkey; Type: FK CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.destination_mapping
    ADD CONSTRAINT destination_mapping_destination_id_fkey FOREIGN KEY (destination_id) REFERENCES offtake.destination(destination_id) ON DELETE CASCADE;


--
-- Name: outgoing_request outgoing_request_destination_id_fkey; Type: FK CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.outgoing_request
    ADD CONSTRAINT outgoing_request_destination_id_fkey FOREIGN KEY (destination_id) REFERENCES offtake.destination(destination_id) ON DELETE CASCADE;


--
-- Name: quarantined_row quarantined_row_destination_id_fkey; Type: FK CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.quarantined_row
    ADD CONSTRAINT quarantined_row_destination_id_fkey FOREIGN KEY (destination_id) REFERENCES offtake.destination(destination_id) ON DELETE CASCADE;


--
-- Name: resync_request resync_request_destination_id_fkey; Type: FK CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.resync_request
    ADD CONSTRAINT resync_request_destination_id_fkey FOREIGN KEY (destination_id) REFERENCES offtake.destination(destination_id) ON DELETE CASCADE;


--
-- Name: visit visit_destination_id_fkey; Type: FK CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.visit
    ADD CONSTRAINT visit_destination_id_fkey FOREIGN KEY (destination_id) REFERENCES offtake.destination(destination_id) ON DELETE CASCADE;


--
-- Name: waiting_mapping waiting_mapping_destination_id_fkey; Type: FK CONSTRAINT; Schema: offtake; Owner: -
--

ALTER TABLE ONLY offtake.waiting_mapping
    ADD CONSTRAINT waiting_mapping_destination_id_fkey FOREIGN KEY (destination_id) REFERENCES offtake.destination(destination_id) ON DELETE CASCADE;


--
-- Name: contact_channel contact_channel_tenancy_id_project_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.contact_channel
    ADD CONSTRAINT contact_channel_tenancy_id_project_user_id_fkey FOREIGN KEY (tenancy_id, project_user_id) REFERENCES public.project_user(tenancy_id, project_user_id) ON UPDATE CASCADE ON DELETE CASCADE;


--
-- Name: invitation invitation_project_id_branch_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.invitation
    ADD CONSTRAINT invitation_project_id_branch_id_fkey FOREIGN KEY (project_id, branch_id) REFERENCES public.tenancy(project_id, branch_id) ON UPDATE CASCADE ON DELETE CASCADE;


--
-- Name: permission permission_tenancy_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.permission
    ADD CONSTRAINT permission_tenancy_id_fkey FOREIGN KEY (tenancy_id) REFERENCES public.tenancy(id) ON UPDATE CASCADE ON DELETE CASCADE;


--
-- Name: permission permission_tenancy_id_project_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.permission
    ADD CONSTRAINT permission_tenancy_id_project_user_id_fkey FOREIGN KEY (tenancy_id, project_user_id) REFERENCES public.project_user(tenancy_id, project_user_id) ON UPDATE CASCADE ON DELETE CASCADE;


--
-- Name: permission permission_tenancy_id_team_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.permission
    ADD CONSTRAINT permission_tenancy_id_team_id_fkey FOREIGN KEY (tenancy_id, team_id) REFERENCES public.team(tenancy_id, team_id) ON UPDATE CASCADE ON DELETE CASCADE;


--
-- Name: project_user project_user_tenancy_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.project_user
    ADD CONSTRAINT project_user_tenancy_id_fkey FOREIGN KEY (tenancy_id) REFERENCES public.tenancy(id) ON UPDATE CASCADE ON DELETE CASCADE;


--
-- Name: team_member team_member_tenancy_id_project_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.team_member
    ADD CONSTRAINT team_member_tenancy_id_project_user_id_fkey FOREIGN KEY (tenancy_id, project_user_id) REFERENCES public.project_user(tenancy_id, project_user_id) ON UPDATE CASCADE ON DELETE CASCADE;


--
-- Name: team_member team_member_tenancy_id_team_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.team_member
    ADD CONSTRAINT team_member_tenancy_id_team_id_fkey FOREIGN KEY (tenancy_id, team_id) REFERENCES public.team(tenancy_id, team_id) ON UPDATE CASCADE ON DELETE CASCADE;


--
-- Name: team team_tenancy_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.team
    ADD CONSTRAINT team_tenancy_id_fkey FOREIGN KEY (tenancy_id) REFERENCES public.tenancy(id) ON UPDATE CASCADE ON DELETE CASCADE;


--
-- PostgreSQL database dump complete
--

\unrestrict TyBmOIn0uXiYLwQ9bJ2yeYe5ZuFjqN9COchndSJPYbTpU5DKju908jyeCDS4euF

