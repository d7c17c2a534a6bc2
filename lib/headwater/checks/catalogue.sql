-- What is questionable about the objects of some schemas: one row a fact, each by its rule of lint.
-- Parameter: $1 text[], or null for every schema that is not the server's own.
-- A part stands for each rule, in the order of headwater.checks.rules.catalogue. Every name is
-- qualified, so that nothing in anybody's search_path decides what is read; only columns that
-- everybody may read are read. PostgreSQL 15 to 18. (What is asked owes much to splinter, the
-- queries of Supabase: https://github.com/supabase/splinter.)
WITH RECURSIVE spaces AS MATERIALIZED (
    SELECT n.oid, n.nspname, n.nspowner, n.nspacl
      FROM pg_catalog.pg_namespace n
     WHERE CASE WHEN $1::pg_catalog.text[] IS NULL
                THEN NOT (n.nspname ^@ 'pg_' OR n.nspname = 'information_schema')
                ELSE n.nspname = ANY ($1) END
), members AS MATERIALIZED (
    SELECT d.classid, d.objid FROM pg_catalog.pg_depend d WHERE d.deptype = 'e'
), relations AS MATERIALIZED (
    SELECT c.oid, c.relkind, c.relpersistence, c.relispartition, c.relowner, c.relacl,
           c.relrowsecurity, c.relreplident, c.reloptions,
           pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
      FROM pg_catalog.pg_class c
      JOIN spaces n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
       AND c.oid NOT IN (SELECT objid FROM members
                          WHERE classid = 'pg_catalog.pg_class'::pg_catalog.regclass)
), functions AS MATERIALIZED (
    -- Those that run with the rights of their owner, in a language that looks names up.
    SELECT p.oid, p.proconfig, p.prosqlbody, p.prorettype,
           coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner)) AS acl,
           n.oid AS space, n.nspowner,
           coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner)) AS nspacl,
           p.oid::pg_catalog.regprocedure::pg_catalog.text AS name
      FROM pg_catalog.pg_proc p
      JOIN spaces n ON n.oid = p.pronamespace
      JOIN pg_catalog.pg_language l ON l.oid = p.prolang
     WHERE p.prosecdef AND l.lanname NOT IN ('c', 'internal')
       AND p.oid NOT IN (SELECT objid FROM members
                          WHERE classid = 'pg_catalog.pg_proc'::pg_catalog.regclass)
), indexes AS MATERIALIZED (
    SELECT i.*, x.relkind, x.relispartition, a.amname,
           pg_catalog.format('%I', x.relname) AS name,
           pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS predicate,
           pg_catalog.pg_get_expr(i.indexprs, i.indrelid) AS expressions,
           -- Which of two alike stays: a key, what a constraint needs, what is unique (and of NULL
           -- too), the older one.
           ARRAY[i.indisprimary::pg_catalog.int4,
                 EXISTS (SELECT FROM pg_catalog.pg_constraint k
                          WHERE k.conindid = i.indexrelid)::pg_catalog.int4,
                 i.indisunique::pg_catalog.int4, i.indnullsnotdistinct::pg_catalog.int4] AS worth
      FROM pg_catalog.pg_index i
      JOIN relations t ON t.oid = i.indrelid
      JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
      JOIN pg_catalog.pg_am a ON a.oid = x.relam
), doubled AS MATERIALIZED (
    SELECT DISTINCT ON (a.indexrelid)
           a.indexrelid, a.indrelid, a.name, b.indexrelid AS other, b.name AS other_name
      FROM indexes a
      JOIN indexes b ON b.indrelid = a.indrelid
                    AND b.indkey::pg_catalog.text = a.indkey::pg_catalog.text
                    AND b.indclass::pg_catalog.text = a.indclass::pg_catalog.text
                    AND b.indcollation::pg_catalog.text = a.indcollation::pg_catalog.text
                    AND b.indoption::pg_catalog.text = a.indoption::pg_catalog.text
     WHERE (b.worth > a.worth OR b.worth = a.worth AND b.indexrelid < a.indexrelid)
       AND a.indisvalid AND NOT a.indisexclusion AND NOT a.indisreplident AND NOT a.relispartition
       AND b.indisvalid
       AND b.predicate IS NOT DISTINCT FROM a.predicate
       AND b.expressions IS NOT DISTINCT FROM a.expressions
       AND (NOT a.indisunique
            OR b.indisunique AND (b.indimmediate OR NOT a.indimmediate)
               AND (b.indisprimary OR b.indnullsnotdistinct OR NOT a.indnullsnotdistinct))
     ORDER BY a.indexrelid, b.worth DESC, b.indexrelid
), foreign_keys AS MATERIALIZED (
    SELECT f.oid, f.conrelid, f.confrelid, f.conkey, k.columns, k.narrow, t.name,
           f.confrelid::pg_catalog.regclass::pg_catalog.text AS target,
           pg_catalog.format('%I', f.conname) AS called
      FROM pg_catalog.pg_constraint f
      JOIN relations t ON t.oid = f.conrelid
     CROSS JOIN LATERAL (
            SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', '
                                         ORDER BY c.number) AS columns,
                   pg_catalog.string_agg(
                       pg_catalog.format('%I is %s, %I %s', a.attname,
                           pg_catalog.format_type(a.atttypid, NULL), r.attname,
                           pg_catalog.format_type(r.atttypid, NULL)), '; ')
                       FILTER (WHERE a.atttypid IN (20, 21, 23) AND a.attlen < r.attlen) AS narrow
              FROM ROWS FROM (pg_catalog.unnest(f.conkey), pg_catalog.unnest(f.confkey))
                       WITH ORDINALITY AS c (own, other, number)
              JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = c.own
              JOIN pg_catalog.pg_attribute r ON r.attrelid = f.confrelid AND r.attnum = c.other
     ) k
     WHERE f.contype = 'f' AND f.conparentid = 0
), policies AS MATERIALIZED (
    SELECT p.oid, p.polrelid, p.polcmd, p.polpermissive, p.polroles, t.relrowsecurity,
           t.name, pg_catalog.format('%I', p.polname) AS called,
           pg_catalog.pg_get_expr(p.polqual, p.polrelid) AS seen,
           pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) AS written
      FROM pg_catalog.pg_policy p
      JOIN relations t ON t.oid = p.polrelid
), per_row AS MATERIALIZED (
    -- What is left of a condition without its sub-selects (their brackets three deep). One that is
    -- still there is deeper than that: then nothing is said.
    SELECT p.*, pg_catalog.regexp_replace(p.seen,
        '\( SELECT (?:[^()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*\)', '', 'g') AS rest
      FROM policies p
     WHERE p.polcmd <> 'a'
), view_reads (view, oid) AS (
    -- What a view reads with its owner's rights: by itself, and through views that ask for the
    -- rights of whoever reads them.
    SELECT v.oid, d.refobjid
      FROM relations v
      JOIN pg_catalog.pg_rewrite w ON w.ev_class = v.oid
      JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                                 AND d.objid = w.oid
                                 AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
     WHERE v.relkind = 'v'
       AND NOT coalesce((SELECT option_value::pg_catalog.bool
                           FROM pg_catalog.pg_options_to_table(v.reloptions)
                          WHERE option_name = 'security_invoker'), false)
    UNION
    SELECT r.view, d.refobjid
      FROM view_reads r
      JOIN pg_catalog.pg_class v ON v.oid = r.oid
      JOIN pg_catalog.pg_rewrite w ON w.ev_class = v.oid
      JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                                 AND d.objid = w.oid
                                 AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
     WHERE (SELECT option_value::pg_catalog.bool
              FROM pg_catalog.pg_options_to_table(v.reloptions)
             WHERE option_name = 'security_invoker')
), facts (rule, classid, objid, relation, cause_class, cause, words, severity, number) AS (

-- foreign-key-without-index: the columns are compared as a set. An index of the rows that are not
-- null serves as well (measured: the equality of the check implies it), no other partial one does.
SELECT 'foreign-key-without-index', 'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid,
       f.oid, f.conrelid, NULL::pg_catalog.oid, NULL::pg_catalog.oid,
       pg_catalog.format('%s (%s) refers to %s, and no index begins with %s',
           f.name, f.columns, f.target,
           CASE WHEN pg_catalog.cardinality(f.conkey) > 1 THEN 'them' ELSE 'it' END),
       NULL, 0
  FROM foreign_keys f
 WHERE NOT EXISTS (
        SELECT FROM indexes i
         WHERE i.indrelid = f.conrelid AND i.indisvalid AND i.amname NOT IN ('gin', 'brin')
           AND i.indnkeyatts >= pg_catalog.cardinality(f.conkey)
           AND (i.indkey::pg_catalog.int2[])[0:pg_catalog.cardinality(f.conkey) - 1] @> f.conkey
           AND (i.predicate IS NULL
                OR i.predicate IN (SELECT pg_catalog.format('(%I IS NOT NULL)', a.attname)
                                     FROM pg_catalog.pg_attribute a
                                    WHERE a.attrelid = f.conrelid AND a.attnum = ANY (f.conkey))))

-- foreign-key-narrower
UNION ALL
SELECT 'foreign-key-narrower', 'pg_catalog.pg_constraint'::pg_catalog.regclass, f.oid, f.conrelid,
       NULL, NULL, pg_catalog.format('%s refers to %s: %s', f.name, f.target, f.narrow), NULL, 0
  FROM foreign_keys f
 WHERE f.narrow IS NOT NULL

-- no-primary-key: a partition has the key of its parent.
UNION ALL
SELECT 'no-primary-key', 'pg_catalog.pg_class'::pg_catalog.regclass, t.oid, t.oid, NULL, NULL,
       pg_catalog.format('%s has no primary key', t.name), NULL, 0
  FROM relations t
 WHERE t.relkind IN ('r', 'p') AND NOT t.relispartition
   AND NOT EXISTS (SELECT FROM indexes i WHERE i.indrelid = t.oid AND i.indisprimary)

-- duplicate-index: told of the one that can go.
UNION ALL
SELECT 'duplicate-index', 'pg_catalog.pg_class'::pg_catalog.regclass, d.indexrelid, d.indrelid,
       'pg_catalog.pg_class'::pg_catalog.regclass, d.other,
       pg_catalog.format('index %s of %s does nothing that %s does not',
                         d.name, t.name, d.other_name), NULL, 0
  FROM doubled d
  JOIN relations t ON t.oid = d.indrelid

-- invalid-index: one of a partitioned table becomes valid with its last partition's.
UNION ALL
SELECT 'invalid-index', 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid, i.indrelid,
       NULL, NULL,
       CASE i.relkind
            WHEN 'I' THEN pg_catalog.format(
                'index %s of %s is invalid until each partition''s is attached', i.name, t.name)
            ELSE pg_catalog.format('index %s of %s is invalid: its build failed',
                                   i.name, t.name) END,
       CASE i.relkind WHEN 'i' THEN 'error' END, 0
  FROM indexes i
  JOIN relations t ON t.oid = i.indrelid
 WHERE NOT i.indisvalid

-- unvalidated-constraint: on 18 one may be NOT ENFORCED, and is then never valid.
UNION ALL
SELECT 'unvalidated-constraint', 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid,
       nullif(k.conrelid, 0), NULL, NULL,
       pg_catalog.format('constraint %I of %s is NOT VALID', k.conname,
           coalesce(t.name, pg_catalog.format_type(k.contypid, NULL))), NULL, 0
  FROM pg_catalog.pg_constraint k
  LEFT JOIN relations t ON t.oid = k.conrelid
 WHERE NOT k.convalidated AND k.conislocal
   AND (t.oid IS NOT NULL OR k.contypid <> 0 AND k.connamespace IN (SELECT oid FROM spaces))
   AND coalesce((pg_catalog.to_jsonb(k) ->> 'conenforced')::pg_catalog.bool, true)

-- rls-without-policy
UNION ALL
SELECT 'rls-without-policy', 'pg_catalog.pg_class'::pg_catalog.regclass, t.oid, t.oid, NULL, NULL,
       pg_catalog.format('%s has row security and no policy', t.name), NULL, 0
  FROM relations t
 WHERE t.relrowsecurity AND NOT EXISTS (SELECT FROM policies p WHERE p.polrelid = t.oid)

-- policy-without-rls: once a table, of its oldest policy.
UNION ALL
SELECT 'policy-without-rls', 'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid, p.polrelid,
       'pg_catalog.pg_class'::pg_catalog.regclass, p.polrelid,
       pg_catalog.format('policy %s of %s does nothing: its row security is off',
                         p.called, p.name), NULL, 0
  FROM (SELECT DISTINCT ON (polrelid) * FROM policies ORDER BY polrelid, oid) p
 WHERE NOT p.relrowsecurity

-- policy-always-true: a restrictive policy for the same command may say the rest. What is for one
-- role may be meant (an audit log that everybody adds to).
UNION ALL
SELECT 'policy-always-true', 'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid, p.polrelid,
       NULL, NULL,
       pg_catalog.format('policy %s of %s lets every row be %s', p.called, p.name,
           CASE p.polcmd WHEN 'a' THEN 'inserted' WHEN 'd' THEN 'deleted'
                         WHEN 'w' THEN 'updated' ELSE 'written' END),
       CASE WHEN 0 = ANY (p.polroles) THEN NULL ELSE 'info' END, 0
  FROM policies p
 WHERE p.polpermissive AND p.relrowsecurity
   AND p.polcmd IN ('a', 'w', 'd', '*')
   AND (p.seen = 'true' OR p.written = 'true')
   AND NOT EXISTS (SELECT FROM policies r
                    WHERE r.polrelid = p.polrelid AND NOT r.polpermissive
                      AND r.polcmd IN ('*', p.polcmd))

-- policy-setting-missing-ok: a name with a dot is nobody's until somebody sets it.
UNION ALL
SELECT 'policy-setting-missing-ok', 'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid, p.polrelid,
       NULL, NULL,
       pg_catalog.format('policy %s of %s asks for %s, and fails where it is not set',
           p.called, p.name,
           pg_catalog.substring(pg_catalog.concat(p.seen, ' ', p.written),
                                'current_setting\(''([^'']*\.[^'']*)''::text\)')), NULL, 0
  FROM policies p
 WHERE pg_catalog.concat(p.seen, ' ', p.written) ~ 'current_setting\(''[^'']*\.[^'']*''::text\)'

-- policy-setting-per-row: what a session sets does not change within a query.
UNION ALL
SELECT 'policy-setting-per-row', 'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid, p.polrelid,
       NULL, NULL,
       pg_catalog.format('policy %s of %s calls %s() for every row', p.called, p.name, f.name),
       NULL, 0
  FROM per_row p
 CROSS JOIN LATERAL (
        SELECT 'current_setting' AS name WHERE p.rest ~ '\mcurrent_setting\('
        UNION ALL
        SELECT pg_catalog.format('%I.%I', n.nspname, f.proname)
          FROM pg_catalog.pg_depend d
          JOIN pg_catalog.pg_proc f ON f.oid = d.refobjid
          JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
         WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND d.objid = p.oid
           AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
           AND f.provolatile IN ('s', 'v')
           AND pg_catalog.strpos(p.rest,
                   pg_catalog.format('%I.%I()', n.nspname, f.proname)) > 0
         ORDER BY 1 LIMIT 1
     ) f
 WHERE p.rest !~ '\mSELECT\M'

-- view-bypasses-rls: seen from the view; the table may have got its row security later.
UNION ALL
SELECT 'view-bypasses-rls', 'pg_catalog.pg_class'::pg_catalog.regclass, v.oid, v.oid,
       'pg_catalog.pg_class'::pg_catalog.regclass, t.oid,
       pg_catalog.format('view %s reads %s with the rights of its owner', v.name, t.name), NULL, 0
  FROM (SELECT DISTINCT ON (r.view) r.view, r.oid
          FROM view_reads r
          JOIN pg_catalog.pg_class c ON c.oid = r.oid AND c.relrowsecurity
         ORDER BY r.view, r.oid) r
  JOIN relations v ON v.oid = r.view
 CROSS JOIN LATERAL (SELECT r.oid, r.oid::pg_catalog.regclass::pg_catalog.text AS name) t

-- partition-bypasses-rls: what is granted on a parent is not granted on its partitions.
UNION ALL
SELECT 'partition-bypasses-rls', 'pg_catalog.pg_class'::pg_catalog.regclass, t.oid, t.oid,
       'pg_catalog.pg_class'::pg_catalog.regclass, p.oid,
       pg_catalog.format('%s can be asked without the row security of %s', t.name,
                         p.oid::pg_catalog.regclass), NULL, 0
  FROM relations t
  JOIN pg_catalog.pg_inherits i ON i.inhrelid = t.oid
  JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relrowsecurity
 WHERE t.relispartition AND NOT t.relrowsecurity
   AND EXISTS (SELECT FROM pg_catalog.aclexplode(t.relacl) a WHERE a.grantee <> t.relowner)

-- security-definer-search-path: a body in BEGIN ATOMIC was looked up when it was made.
UNION ALL
SELECT 'security-definer-search-path', 'pg_catalog.pg_proc'::pg_catalog.regclass, f.oid, NULL,
       NULL, NULL,
       pg_catalog.format('%s is SECURITY DEFINER, and looks names up where its caller says',
                         f.name), NULL, 0
  FROM functions f
 WHERE f.prosqlbody IS NULL
   AND NOT EXISTS (SELECT FROM pg_catalog.unnest(f.proconfig) s WHERE s ^@ 'search_path=')

-- security-definer-public: where somebody but the owner of the schema can reach it. Nobody calls
-- the function of a trigger.
UNION ALL
SELECT 'security-definer-public', 'pg_catalog.pg_proc'::pg_catalog.regclass, f.oid, NULL,
       'pg_catalog.pg_namespace'::pg_catalog.regclass, f.space,
       pg_catalog.format('everybody who may use its schema may call %s, which is SECURITY DEFINER',
                         f.name), NULL, 0
  FROM functions f
 WHERE f.prorettype NOT IN ('pg_catalog.trigger'::pg_catalog.regtype,
                            'pg_catalog.event_trigger'::pg_catalog.regtype)
   AND EXISTS (SELECT FROM pg_catalog.aclexplode(f.acl) a WHERE a.grantee = 0)
   AND EXISTS (SELECT FROM pg_catalog.aclexplode(f.nspacl) a
                WHERE a.grantee <> f.nspowner AND a.privilege_type = 'USAGE')

-- granted-to-public: tables, views, sequences and their columns; making things in a schema; and
-- what will be granted on everything that is yet to come.
UNION ALL
SELECT 'granted-to-public', g.classid, g.objid, g.relation, NULL, NULL,
       pg_catalog.format('PUBLIC may %s %s', g.may, g.what), NULL, 0
  FROM (
        SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid AS classid,
               t.oid AS objid, t.oid AS relation,
               pg_catalog.string_agg(DISTINCT a.privilege_type, ', ') AS may,
               'on ' || t.name AS what
          FROM relations t
         CROSS JOIN LATERAL (
                SELECT * FROM pg_catalog.aclexplode(t.relacl)
                UNION ALL
                SELECT x.* FROM pg_catalog.pg_attribute c
                 CROSS JOIN LATERAL pg_catalog.aclexplode(c.attacl) x
                 WHERE c.attrelid = t.oid AND c.attacl IS NOT NULL AND NOT c.attisdropped
             ) a
         WHERE a.grantee = 0
         GROUP BY t.oid, t.name
        UNION ALL
        SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass, n.oid, NULL, a.privilege_type,
               pg_catalog.format('in schema %I', n.nspname)
          FROM spaces n
         CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) a
         WHERE a.grantee = 0 AND a.privilege_type = 'CREATE'
        UNION ALL
        SELECT 'pg_catalog.pg_default_acl'::pg_catalog.regclass, d.oid, NULL,
               pg_catalog.string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type),
               CASE d.defaclobjtype WHEN 'r' THEN 'on tables' ELSE 'on sequences' END
               || coalesce(pg_catalog.format(' of schema %I', n.nspname), '')
               || ' made from now on'
          FROM pg_catalog.pg_default_acl d
          LEFT JOIN spaces n ON n.oid = d.defaclnamespace
         CROSS JOIN LATERAL pg_catalog.aclexplode(d.defaclacl) a
         WHERE d.defaclobjtype IN ('r', 'S') AND a.grantee = 0
           AND (d.defaclnamespace = 0 OR n.oid IS NOT NULL)
         GROUP BY d.oid, d.defaclobjtype, n.nspname
     ) g

-- integer-key: what counts itself up, and keys of one column that refer to nothing.
UNION ALL
SELECT 'integer-key', 'pg_catalog.pg_class'::pg_catalog.regclass, t.oid, t.oid, NULL, NULL,
       pg_catalog.format('%s.%I is %s', t.name, a.attname,
                         pg_catalog.format_type(a.atttypid, NULL)), NULL, a.attnum
  FROM relations t
  JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.atttypid IN (21, 23)
                                AND a.attinhcount = 0
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = t.oid AND d.adnum = a.attnum
 WHERE t.relkind IN ('r', 'p')
   AND (a.attidentity <> '' OR pg_catalog.pg_get_expr(d.adbin, d.adrelid) ^@ 'nextval('
        OR a.atttypid = 23
           AND EXISTS (SELECT FROM indexes i
                        WHERE i.indrelid = t.oid AND i.indisprimary
                          AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum)
           AND NOT EXISTS (SELECT FROM foreign_keys f
                            WHERE f.conrelid = t.oid AND a.attnum = ANY (f.conkey)))

-- narrow-sequence: ALTER COLUMN … TYPE bigint leaves the sequence of a serial as it was.
UNION ALL
SELECT 'narrow-sequence', 'pg_catalog.pg_class'::pg_catalog.regclass, q.oid, t.oid,
       'pg_catalog.pg_class'::pg_catalog.regclass, t.oid,
       pg_catalog.format('%s.%I is %s, and its sequence %s ends at %s', t.name, a.attname,
           pg_catalog.format_type(a.atttypid, NULL), q.name, s.seqmax), NULL, 0
  FROM pg_catalog.pg_sequence s
  JOIN relations q ON q.oid = s.seqrelid
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                             AND d.objid = s.seqrelid
                             AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
  JOIN relations t ON t.oid = d.refobjid
  JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
  JOIN pg_catalog.pg_type y ON y.oid = s.seqtypid
 WHERE a.atttypid IN (20, 23) AND y.typlen < a.attlen

-- matview-without-unique-index: what REFRESH … CONCURRENTLY asks for.
UNION ALL
SELECT 'matview-without-unique-index', 'pg_catalog.pg_class'::pg_catalog.regclass, m.oid, m.oid,
       NULL, NULL,
       pg_catalog.format('%s has no unique index, and cannot be refreshed CONCURRENTLY', m.name),
       NULL, 0
  FROM relations m
 WHERE m.relkind = 'm'
   AND NOT EXISTS (SELECT FROM indexes i
                    WHERE i.indrelid = m.oid AND i.indisunique AND i.indisvalid
                      AND i.predicate IS NULL AND i.expressions IS NULL)

-- unlogged-table
UNION ALL
SELECT 'unlogged-table', 'pg_catalog.pg_class'::pg_catalog.regclass, t.oid, t.oid, NULL, NULL,
       pg_catalog.format('%s is unlogged', t.name), NULL, 0
  FROM relations t
 WHERE t.relpersistence = 'u' AND t.relkind IN ('r', 'p')

-- disabled-trigger: those of a foreign key by the name of that; theirs hold numbers.
UNION ALL
SELECT DISTINCT 'disabled-trigger',
       CASE WHEN g.tgisinternal THEN 'pg_catalog.pg_constraint'::pg_catalog.regclass
            ELSE 'pg_catalog.pg_trigger'::pg_catalog.regclass END::pg_catalog.oid,
       CASE WHEN g.tgisinternal THEN g.tgconstraint ELSE g.oid END, t.oid,
       NULL::pg_catalog.oid, NULL::pg_catalog.oid,
       CASE WHEN g.tgisinternal
            THEN pg_catalog.format('constraint %I is not checked: triggers of %s are disabled',
                                   k.conname, t.name)
            ELSE pg_catalog.format('trigger %I of %s is disabled', g.tgname, t.name) END, NULL, 0
  FROM pg_catalog.pg_trigger g
  JOIN relations t ON t.oid = g.tgrelid
  LEFT JOIN pg_catalog.pg_constraint k ON k.oid = g.tgconstraint
 WHERE g.tgenabled = 'D' AND g.tgparentid = 0 AND (NOT g.tgisinternal OR k.oid IS NOT NULL)

-- published-without-identity
UNION ALL
SELECT 'published-without-identity', 'pg_catalog.pg_class'::pg_catalog.regclass, t.oid, t.oid,
       'pg_catalog.pg_publication'::pg_catalog.regclass, p.oid,
       pg_catalog.format('%s is published by %s, and has no replica identity', t.name, p.called),
       NULL, 0
  FROM (SELECT DISTINCT ON (o.relid) o.relid, p.oid,
               pg_catalog.format('%I', p.pubname) AS called
          FROM pg_catalog.pg_publication p
         CROSS JOIN LATERAL pg_catalog.pg_get_publication_tables(p.pubname::pg_catalog.text) o
         WHERE p.pubupdate OR p.pubdelete
         ORDER BY o.relid, p.oid) p
  JOIN relations t ON t.oid = p.relid
 WHERE t.relreplident <> 'f'
   AND NOT EXISTS (SELECT FROM indexes i
                    WHERE i.indrelid = t.oid
                      AND CASE t.relreplident WHEN 'd' THEN i.indisprimary
                                              WHEN 'i' THEN i.indisreplident
                                              ELSE false END)
)
SELECT f.rule, pg_catalog.concat_ws('.', f.objid, f.number) AS address, f.words, f.severity,
       o.identity AS object,
       coalesce(f.relation::pg_catalog.regclass::pg_catalog.text, '') AS relation,
       coalesce(c.identity, '') AS cause
  FROM facts f
 CROSS JOIN LATERAL pg_catalog.pg_identify_object(f.classid, f.objid, f.number) o
  LEFT JOIN LATERAL pg_catalog.pg_identify_object(f.cause_class, f.cause, 0) c ON true
