-- What dropping the managed schemas would take with it *outside* of them: identity and type of each
-- object, top-level ones only. Parameters: %(schemas)s text[], %(history)s text[] (table names in
-- public that stay). Follows pg_depend the way DROP … CASCADE does (findDependentObjects in
-- src/backend/catalog/dependency.c): from an object to what depends on it, and from a part (the
-- rule of a view, the expression of a generated column) to its whole, by pg_depend's two indexes.
WITH RECURSIVE kept AS (
    SELECT c.oid FROM pg_catalog.pg_class c
     WHERE c.relnamespace = 'public'::pg_catalog.regnamespace AND c.relname = ANY (%(history)s)
), roots(classid, objid, objsubid) AS (
    -- A schema that is dropped takes what stands in it. A managed public stays: its contents go.
    SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass::oid, n.oid, 0
      FROM pg_catalog.pg_namespace n
     WHERE n.nspname = ANY (%(schemas)s) AND n.nspname <> 'public'
    UNION ALL
    SELECT d.classid, d.objid, 0
      FROM pg_catalog.pg_depend d
     WHERE 'public' = ANY (%(schemas)s)
       AND d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
       AND d.refobjid = 'public'::pg_catalog.regnamespace
       AND d.deptype = 'n'
       AND d.objid NOT IN (SELECT oid FROM kept)
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                        WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e')
), doomed(classid, objid, objsubid) AS (
    SELECT * FROM roots
    UNION
    SELECT next.classid, next.objid, next.objsubid
      FROM doomed x
     CROSS JOIN LATERAL (
            SELECT d.classid, d.objid, d.objsubid
              FROM pg_catalog.pg_depend d
             WHERE d.refclassid = x.classid AND d.refobjid = x.objid
               AND (x.objsubid = 0 OR d.refobjsubid = x.objsubid)
            UNION ALL
            SELECT d.refclassid, d.refobjid, d.refobjsubid
              FROM pg_catalog.pg_depend d
             WHERE d.classid = x.classid AND d.objid = x.objid AND d.objsubid = x.objsubid
               -- A member of an extension takes the extension, and with it all other members.
               AND d.deptype IN ('i', 'e')
     ) next
), managed(oid) AS (
    SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = ANY (%(schemas)s)
), relations(oid) AS (
    SELECT oid FROM pg_catalog.pg_class WHERE relnamespace IN (SELECT oid FROM managed)
), inside(classid, objid) AS (
    -- Nearly all that is doomed stands inside; telling that by joins spares asking for each name.
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::oid, oid FROM relations
    UNION ALL SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, oid
                FROM pg_catalog.pg_proc WHERE pronamespace IN (SELECT oid FROM managed)
    UNION ALL SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, oid
                FROM pg_catalog.pg_type WHERE typnamespace IN (SELECT oid FROM managed)
    UNION ALL SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, oid
                FROM pg_catalog.pg_constraint WHERE connamespace IN (SELECT oid FROM managed)
    UNION ALL SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, oid
                FROM pg_catalog.pg_attrdef WHERE adrelid IN (SELECT oid FROM relations)
    UNION ALL SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass, oid
                FROM pg_catalog.pg_trigger WHERE tgrelid IN (SELECT oid FROM relations)
    UNION ALL SELECT 'pg_catalog.pg_policy'::pg_catalog.regclass, oid
                FROM pg_catalog.pg_policy WHERE polrelid IN (SELECT oid FROM relations)
    UNION ALL SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass, oid
                FROM pg_catalog.pg_rewrite WHERE ev_class IN (SELECT oid FROM relations)
)
SELECT DISTINCT o.type, o.identity
  FROM (SELECT x.* FROM doomed x LEFT JOIN inside i USING (classid, objid)
         WHERE i.objid IS NULL) x
 CROSS JOIN LATERAL pg_catalog.pg_identify_object(x.classid, x.objid, x.objsubid) o
 CROSS JOIN LATERAL pg_catalog.pg_identify_object_as_address(x.classid, x.objid, x.objsubid) a
 WHERE (coalesce(o.schema, a.object_names[1], '') <> ALL (%(schemas)s)
        -- A publication stands in no schema, and is named after the table that it publishes.
        OR o.type IN ('publication relation', 'publication namespace'))
   AND coalesce(o.schema, '') !~ '^pg_toast'
   AND o.type NOT IN ('schema', 'default acl')
   AND NOT (o.type = 'rule' AND o.identity LIKE '"\_RETURN" on %%')
   AND NOT (o.type = 'type' AND o.identity ~ '\[\]$')
   -- The row type of a table and the parts of an extension go with their whole.
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = x.classid AND d.objid = x.objid
                      AND d.objsubid = 0 AND x.objsubid = 0 AND d.deptype IN ('i', 'e'))
UNION
-- Rows of an outside table go with a partition or child of it that stands inside.
SELECT 'partition or child', pg_catalog.concat(
           i.inhrelid::pg_catalog.regclass, ' of ', i.inhparent::pg_catalog.regclass)
  FROM pg_catalog.pg_inherits i
  JOIN pg_catalog.pg_class child ON child.oid = i.inhrelid AND child.relkind IN ('r', 'p', 'f')
 WHERE i.inhrelid IN (SELECT oid FROM relations)
   AND i.inhparent NOT IN (SELECT oid FROM relations)
 ORDER BY 1, 2
