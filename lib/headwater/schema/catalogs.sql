-- Every column of every catalogue, as the server describes itself: the plan of the snapshot.
--
-- `refers_to` is the catalogue whose oid the column holds; `column_of` the column beside it that
-- names the relation of which it holds column numbers. Both are declared in the server's own source
-- (BKI_LOOKUP) and handed out by pg_get_catalog_foreign_keys(), PostgreSQL 14 and later.
with declared as (
  select fktable, fkcols[1] as colname, pktable, null::text as beside
    from pg_get_catalog_foreign_keys() where array_length(fkcols, 1) = 1
   union all
  select fktable, fkcols[2], pktable, fkcols[1]
    from pg_get_catalog_foreign_keys() where array_length(fkcols, 1) = 2
)
select c.relname::text                                          as catalog,
       c.relisshared                                            as shared,
       a.attname::text                                          as name,
       format_type(a.atttypid, a.atttypmod)                     as type,
       case when d.beside is null then d.pktable::regclass::text end as refers_to,
       d.beside                                                 as column_of,
       coalesce(a.attnum = any (k.indkey), false)               as key,
       has_column_privilege(c.oid, a.attnum, 'select')          as readable,
       has_column_privilege('public', c.oid, a.attnum, 'select') as public
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_index k on k.indrelid = c.oid and k.indisprimary
  left join declared d on d.fktable = c.oid and d.colname = a.attname
 where c.relnamespace = 'pg_catalog'::regnamespace
   and c.relkind = 'r'
   and a.attrelid < 16384  -- made by initdb: spares the server a walk through the user's columns
 order by c.relname, a.attnum
