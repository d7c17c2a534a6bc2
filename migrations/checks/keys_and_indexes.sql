-- Foreign keys, and the indexes that serve them.

-- In any order: an index on (b, a) serves a key on (a, b). indkey counts from 0, hence the slice.
select not exists (
    select
    from pg_catalog.pg_constraint as k
    join pg_catalog.pg_namespace as n on n.oid = k.connamespace
    where n.nspname in ('kb', 'core')
        and k.contype = 'f'
        and not exists (
            select
            from pg_catalog.pg_index as i
            where i.indrelid = k.conrelid
                and i.indisvalid
                and i.indpred is null
                and (i.indkey::pg_catalog.int2[])[0:pg_catalog.cardinality(k.conkey) - 1] @> k.conkey
        )
) as "every foreign key has an index that begins with its columns";

-- Foreign keys do not ask row security: without organization_id in the key, a row could point at
-- another tenant's. Keys on kb.orgs and on tables without a tenant have nothing to carry.
select not exists (
    select
    from pg_catalog.pg_constraint as k
    join pg_catalog.pg_namespace as n on n.oid = k.connamespace
    join pg_catalog.pg_attribute as mine
        on mine.attrelid = k.conrelid and mine.attname = 'organization_id' and not mine.attisdropped
    join pg_catalog.pg_attribute as theirs
        on theirs.attrelid = k.confrelid and theirs.attname = 'organization_id' and not theirs.attisdropped
    where n.nspname = 'kb'
        and k.contype = 'f'
        and not exists (
            select
            from pg_catalog.generate_subscripts(k.conkey, 1) as at
            where k.conkey[at] = mine.attnum and k.confkey[at] = theirs.attnum
        )
) as "a key between two tenant tables carries organization_id";

select not exists (
    select
    from pg_catalog.pg_index as i
    join pg_catalog.pg_class as c on c.oid = i.indrelid
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname in ('kb', 'core')
    group by
        i.indrelid,
        i.indkey::pg_catalog.text,
        i.indclass::pg_catalog.text,
        i.indoption::pg_catalog.text,
        i.indcollation::pg_catalog.text,
        i.indnkeyatts,
        i.indisunique,
        i.indnullsnotdistinct,
        pg_catalog.pg_get_expr(i.indexprs, i.indrelid),
        pg_catalog.pg_get_expr(i.indpred, i.indrelid)
    having pg_catalog.count(*) > 1
) as "no two indexes of a table have the same definition";

-- An invalid unique index accepts duplicates, and prints the same definition as a valid one.
select not exists (
    select
    from pg_catalog.pg_index as i
    join pg_catalog.pg_class as c on c.oid = i.indrelid
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname in ('kb', 'core') and not (i.indisvalid and i.indisready)
) as "every index is valid";

select not exists (
    select
    from pg_catalog.pg_constraint as k
    join pg_catalog.pg_namespace as n on n.oid = k.connamespace
    where n.nspname in ('kb', 'core') and not k.convalidated
) as "every constraint is validated";
