-- Which files hold some tables now: a text that is another one after a TRUNCATE or a rewrite of any of
-- them. $1 text[] the tables. A snapshot that was taken before such a change reads an empty or a newer
-- table afterwards, so what it reads then is of no one moment. Partitions and children count. The
-- catalog is read as it is now; no lock.
with recursive relation (oid) as (
  select to_regclass(name)::oid from unnest($1::text[]) name
  union
  select i.inhrelid from relation r join pg_inherits i on i.inhparent = r.oid
)
select coalesce(string_agg(r.oid || ':' || coalesce(pg_relation_filenode(r.oid), 0), ' ' order by r.oid), '')
  from relation r where r.oid is not null
