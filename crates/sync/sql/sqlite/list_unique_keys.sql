-- The columns of the whole unique indexes of the table ?1, one row per column: the index, the
-- column's name, and its collation. The key that is the rowid has no index.
select l.name, x.name, x.coll
  from pragma_index_list(?1) l join pragma_index_xinfo(l.name) x
 where l."unique" and not l.partial and x.key
 order by l.seq, x.seqno
