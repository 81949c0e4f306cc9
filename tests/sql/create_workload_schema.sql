-- The workload's own application: seven tables, and a log of every version of every row that was
-- ever committed. Every write gives its row a version from one sequence while the row's key is
-- locked. So for each key, commits are in the order of versions. The lock is on the key and not on
-- the row, because an insert that waits for another session's delete holds no row.
create schema work;
create sequence work.version_number;

create table work.version_log (
  version    bigint primary key,
  table_name text not null,
  tenant     text,
  key        text not null,
  link       text,
  body       text not null
);

-- A row names the tenant of items. Two owners can swap their keys.
create table work.owner (
  code text not null, tenant text not null, body text not null, version bigint not null,
  primary key (code) deferrable
);

-- The same ids in every tenant.
create table work.parent (
  tenant text not null, id uuid not null, archived boolean not null default false, body text not null, version bigint not null,
  primary key (tenant, id)
);

-- A child moves with its parent.
create table work.child (
  tenant text not null, parent uuid not null, no integer not null, hidden boolean not null default false,
  body text not null, version bigint not null,
  primary key (tenant, parent, no),
  foreign key (tenant, parent) references work.parent on update cascade on delete cascade
);

create table work.item (
  id integer not null, code text not null, body text not null, version bigint not null,
  primary key (id) deferrable
);
create index on work.item (code);

-- The tenant is named by the item's owner.
create table work.part (
  id integer not null, item integer not null, body text not null, version bigint not null,
  primary key (id)
);
create index on work.part (item);

-- Every tenant receives it.
create table work.rate (
  id integer not null, body text not null, version bigint not null,
  primary key (id)
);

-- The tenant is an expression: what follows the slash.
create table work.note (
  scope text not null, name text not null, body text not null, version bigint not null,
  primary key (scope, name)
);
create index on work.note (split_part(scope, '/', 2), name);

-- The arguments of both functions are the key's columns without the tenant.
create function work.stamp() returns trigger language plpgsql as $$
declare
  -- An owner's code is unique among all tenants, an item's id too.
  old_scope text := case when tg_table_name <> 'owner' then coalesce(to_jsonb(old) ->> 'scope', to_jsonb(old) ->> 'tenant') end;
  new_scope text := case when tg_table_name <> 'owner' then coalesce(to_jsonb(new) ->> 'scope', to_jsonb(new) ->> 'tenant') end;
  old_key text := (select string_agg(coalesce(to_jsonb(old) ->> column_name, ''), '|') from unnest(tg_argv) column_name);
  new_key text := (select string_agg(coalesce(to_jsonb(new) ->> column_name, ''), '|') from unnest(tg_argv) column_name);
begin
  if tg_op <> 'INSERT' then
    perform pg_advisory_xact_lock(hashtextextended(format('%s/%s/%s', tg_table_name, old_scope, old_key), 0));
  end if;
  if tg_op = 'DELETE' then
    return old;
  end if;
  perform pg_advisory_xact_lock(hashtextextended(format('%s/%s/%s', tg_table_name, new_scope, new_key), 0));
  new.version := nextval('work.version_number');
  return new;
end $$;

create function work.log() returns trigger language plpgsql as $$
begin
  insert into work.version_log (version, table_name, tenant, key, link, body)
  select new.version, tg_table_name, coalesce(split_part(r ->> 'scope', '/', 2), r ->> 'tenant'),
         (select string_agg(r ->> column_name, '|') from unnest(tg_argv) column_name), coalesce(r ->> 'parent', r ->> 'code', r ->> 'item'), new.body
    from to_jsonb(new) r;
  return null;
end $$;

create trigger stamp before insert or update or delete on work.owner for each row execute function work.stamp('code');
create trigger stamp before insert or update or delete on work.parent for each row execute function work.stamp('id');
create trigger stamp before insert or update or delete on work.child for each row execute function work.stamp('parent', 'no');
create trigger stamp before insert or update or delete on work.item for each row execute function work.stamp('id');
create trigger stamp before insert or update or delete on work.part for each row execute function work.stamp('id');
create trigger stamp before insert or update or delete on work.rate for each row execute function work.stamp('id');
create trigger stamp before insert or update or delete on work.note for each row execute function work.stamp('name');
create trigger log after insert or update on work.owner for each row execute function work.log('code');
create trigger log after insert or update on work.parent for each row execute function work.log('id');
create trigger log after insert or update on work.child for each row execute function work.log('parent', 'no');
create trigger log after insert or update on work.item for each row execute function work.log('id');
create trigger log after insert or update on work.part for each row execute function work.log('id');
create trigger log after insert or update on work.rate for each row execute function work.log('id');
create trigger log after insert or update on work.note for each row execute function work.log('name');
