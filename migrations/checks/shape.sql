-- The outline of the finished schema: how many tables, what they are called, that they are explained.
-- Catalogues are read by name, not by 'kb.x'::regclass, which asks for a privilege on the schema.

select (
    select pg_catalog.count(*) = 35
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'kb' and c.relkind in ('r', 'p')
) as "kb has 35 tables";

select (
    select pg_catalog.count(*) = 2
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'core' and c.relkind in ('r', 'p')
) as "core has 2 tables";

select exists (
    select
    from pg_catalog.pg_attribute as a
    join pg_catalog.pg_class as c on c.oid = a.attrelid
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'kb'
        and c.relname = 'documents'
        and a.attname = 'integration_metadata'
        and a.atttypid = 'pg_catalog.jsonb'::pg_catalog.regtype
        and a.attnotnull
        and not a.attisdropped
) as "kb.documents.integration_metadata is jsonb and never null";

select not exists (
    select
    from pg_catalog.pg_attribute as a
    join pg_catalog.pg_class as c on c.oid = a.attrelid
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname in ('kb', 'core')
        and a.attname in ('subject_id', 'org_id')
        and not a.attisdropped
) as "no column is called subject_id or org_id";

select not exists (
    select
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname in ('kb', 'core')
        and c.relkind in ('r', 'p')
        and pg_catalog.obj_description(c.oid, 'pg_class') is null
) as "every table of kb and core has a comment";

select (
    select pg_catalog.count(*) = 3
    from pg_catalog.pg_extension as e
    where e.extname in ('pgcrypto', 'vector', 'pg_trgm')
) as "the extensions pgcrypto, vector and pg_trgm are installed";

-- Each updated_at is kept by the one shared trigger function.
select not exists (
    select
    from pg_catalog.pg_attribute as a
    join pg_catalog.pg_class as c on c.oid = a.attrelid
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname in ('kb', 'core')
        and c.relkind in ('r', 'p')
        and a.attname = 'updated_at'
        and not exists (
            select
            from pg_catalog.pg_trigger as t
            join pg_catalog.pg_proc as f on f.oid = t.tgfoid
            join pg_catalog.pg_namespace as fn on fn.oid = f.pronamespace
            where t.tgrelid = c.oid
                and t.tgenabled = 'O'
                and fn.nspname = 'core'
                and f.proname = 'set_updated_at'
        )
) as "every updated_at is kept by core.set_updated_at";
