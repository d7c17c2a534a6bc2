-- How much there is of every table and materialized view of some schemas, by the catalogue and the
-- statistics alone: no row of a table is read. A partitioned table is the sum of its leaves, which
-- are listed as well.
--
-- Rows are those of the last ANALYZE or VACUUM (-1: there was none; then those that the statistics
-- count as alive, or else what the size holds at a guess of 100 bytes a row). Bytes are those on disk
-- now, TOAST included. Writes count from the last reset of the statistics; a standby has none.
--
-- Parameter: schemas (text[]).
WITH RECURSIVE members (root, oid) AS (
    SELECT c.oid, c.oid
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = ANY (%(schemas)s::text[]) AND c.relkind = ANY ('{r,p,m}'::"char"[])
     UNION
    SELECT m.root, i.inhrelid
      FROM members m
      JOIN pg_catalog.pg_class p ON p.oid = m.oid AND p.relkind = 'p'::"char"
      JOIN pg_catalog.pg_inherits i ON i.inhparent = m.oid
),
measured AS (
    SELECT c.oid, c.reltuples, s.n_live_tup,
           pg_catalog.pg_table_size(c.oid) AS heap_bytes,
           pg_catalog.pg_indexes_size(c.oid) AS index_bytes,
           coalesce(s.n_tup_ins + s.n_tup_upd + s.n_tup_del, 0) AS writes
      FROM (SELECT DISTINCT oid FROM members) m
      JOIN pg_catalog.pg_class c ON c.oid = m.oid AND c.relkind = ANY ('{r,m}'::"char"[])
      LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid
)
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname) AS name,
       coalesce(sum(CASE WHEN m.reltuples >= 0 THEN m.reltuples::float8
                         WHEN m.n_live_tup > 0 THEN m.n_live_tup::float8
                         ELSE m.heap_bytes / 100.0 END), 0)::bigint AS rows,
       coalesce(sum(m.heap_bytes), 0)::bigint AS heap_bytes,
       coalesce(sum(m.index_bytes), 0)::bigint AS index_bytes,
       coalesce(sum(m.writes), 0)::bigint AS writes,
       coalesce(bool_or(m.reltuples < 0), false) AS estimated
  FROM members r
  JOIN pg_catalog.pg_class c ON c.oid = r.root
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN measured m ON m.oid = r.oid
 GROUP BY c.oid, n.nspname, c.relname
