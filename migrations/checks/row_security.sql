-- What keeps one organization's rows from another's.

select not exists (
    select
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'kb' and c.relkind in ('r', 'p') and not c.relrowsecurity
) as "every table of kb has row security enabled";

select not exists (
    select
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'kb'
        and c.relkind in ('r', 'p')
        and not exists (select from pg_catalog.pg_policy as p where p.polrelid = c.oid)
) as "every table of kb has a policy";

-- a = insert, d = delete, r = select, w = update.
select (
    select pg_catalog.string_agg(p.polcmd::pg_catalog.text, '' order by p.polcmd) = 'adrw'
    from pg_catalog.pg_policy as p
    join pg_catalog.pg_class as c on c.oid = p.polrelid
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'kb' and c.relname = 'object_extraction_jobs'
) as "kb.object_extraction_jobs has a policy for each of 4 commands";

-- Without WITH CHECK the clause for reading serves for writing too, but only by accident.
select not exists (
    select
    from pg_catalog.pg_policy as p
    join pg_catalog.pg_class as c on c.oid = p.polrelid
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'kb' and p.polcmd in ('*', 'a', 'w') and p.polwithcheck is null
) as "every policy for writing has WITH CHECK";

-- A call that is not a sub-select runs once a row.
select not exists (
    select
    from pg_catalog.pg_policies as p
    where p.schemaname = 'kb'
        and pg_catalog.concat(p.qual, ' ', p.with_check)
            ~ '(?<!SELECT )kb\.current_(organization|project)\(\)'
) as "policies call the setting functions once a query";

select exists (
    select
    from pg_catalog.pg_roles as r
    where r.rolname = 'app_rls' and not r.rolsuper and not r.rolbypassrls
) as "app_rls is bound by row security";

-- An owner is not bound by policies.
select not exists (
    select
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    join pg_catalog.pg_roles as r on r.oid = c.relowner
    where n.nspname in ('kb', 'core') and r.rolname = 'app_rls'
) as "app_rls owns no table";

select (
    select not (
        pg_catalog.has_any_column_privilege('app_rls', c.oid, 'insert')
        or pg_catalog.has_table_privilege('app_rls', c.oid, 'delete, truncate')
    )
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'kb' and c.relname = 'orgs'
) as "app_rls neither creates nor deletes organizations";

select (
    select not (
        pg_catalog.has_any_column_privilege('app_rls', c.oid, 'select, update')
        or pg_catalog.has_table_privilege('app_rls', c.oid, 'delete, truncate')
    )
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'kb' and c.relname = 'audit_log'
) as "app_rls only adds to the audit log";

select (
    select not (
        pg_catalog.has_any_column_privilege('app_rls', c.oid, 'insert, update')
        or pg_catalog.has_table_privilege('app_rls', c.oid, 'delete, truncate')
    )
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'kb' and c.relname = 'graph_template_packs'
) as "app_rls does not write template packs";
