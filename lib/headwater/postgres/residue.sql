-- Is there code in this database by which a session could be left in a state that DISCARD ALL does
-- not undo? Then a session is not cleaned behind a file that may have run it, but replaced.
-- (The extensions that are named keep nothing in a session, and bring no settings.) And is there an
-- event trigger, whose code runs at definitions?
WITH words(pattern) AS (
    VALUES ('\mset_config\M|\mload\M|replication|u&["'']|_to_xml|\mts_(stat|rewrite)\M'
            '|\mset\s+(session\s+|local\s+)?[\w"$]+\s*\.'
            '|\mexecute\M(?!\s+(function|procedure)\M)'
            '|\malter\s+(role|user|group|database|system)\M')
), calls(pattern) AS (
    -- In an expression that is stored as a tree a function is a number.
    SELECT ':funcid (' || pg_catalog.string_agg(p.oid::text, '|') || ') '
      FROM pg_catalog.pg_proc p
     WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace
       AND (p.proname IN ('set_config', 'ts_stat', 'ts_rewrite') OR p.proname ~ '_to_xml|replication')
), trees(tree) AS (
    SELECT ev_action::text FROM pg_catalog.pg_rewrite WHERE oid >= 16384
    UNION ALL SELECT adbin::text FROM pg_catalog.pg_attrdef
    UNION ALL SELECT conbin::text FROM pg_catalog.pg_constraint WHERE oid >= 16384
    UNION ALL SELECT pg_catalog.concat(polqual, polwithcheck) FROM pg_catalog.pg_policy
    UNION ALL SELECT tgqual::text FROM pg_catalog.pg_trigger
    UNION ALL SELECT prosqlbody::text FROM pg_catalog.pg_proc WHERE oid >= 16384
)
SELECT EXISTS (SELECT FROM pg_catalog.pg_language
                WHERE lanname NOT IN ('internal', 'c', 'sql', 'plpgsql'))
    OR EXISTS (SELECT FROM pg_catalog.pg_extension
                WHERE extname NOT IN ('plpgsql', 'btree_gin', 'btree_gist', 'citext', 'hstore',
                                      'intarray', 'ltree', 'unaccent', 'uuid-ossp'))
    OR EXISTS (SELECT FROM pg_catalog.pg_proc p
                 JOIN pg_catalog.pg_language l ON l.oid = p.prolang, words w
                WHERE p.oid >= 16384
                  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                                   WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                                     AND d.objid = p.oid AND d.deptype = 'e')
                  AND (l.lanname IN ('c', 'internal') OR p.prosrc ~* w.pattern
                       OR pg_catalog.regexp_replace(p.prosrc, '/\*.*?\*/|--[^\n]*', ' ', 'g')
                          ~* w.pattern
                       OR p.proconfig::text ~ '[{,"][^=]*\.[^=]*='))
    OR EXISTS (SELECT FROM trees t, calls c WHERE t.tree ~ c.pattern),
       EXISTS (SELECT FROM pg_catalog.pg_event_trigger);
