-- What a snapshot of this database is about: its owner, and the objects that are not its schema.
--
-- `outside` holds the members of extensions and the bookkeeping tables with everything that is a
-- part of them (row types, indexes, constraints, defaults, identity sequences …): what pg_depend
-- calls internal (i), automatic (a) or partition (P, S) dependents.
with recursive outside (classid, objid) as (
    select d.classid, d.objid
      from pg_depend d
     where d.refclassid = 'pg_extension'::regclass and d.deptype = 'e'
     union
    select 'pg_class'::regclass::oid, c.oid
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = %(history_schema)s and c.relname = any (%(history_tables)s)
     union
    select d.classid, d.objid
      from outside o
      join pg_depend d on d.refclassid = o.classid and d.refobjid = o.objid
     where d.deptype in ('i', 'a', 'P', 'S')
)
select d.oid::text as database,
       -- Who built it: the owner of the history table, as the migrations ran as that role. Where
       -- there is none, the owner of the database.
       coalesce((select c.relowner
                   from pg_class c
                   join pg_namespace n on n.oid = c.relnamespace
                  where n.nspname = %(history_schema)s
                    and c.relname = (%(history_tables)s::text[])[1]), d.datdba)::text as owner,
       (select array_agg(oid)::text from pg_namespace
         where nspname ^@ 'pg_toast' or nspname ^@ 'pg_temp_')      as hidden_schemas,
       (select json_object_agg(catalog, oids)
          from (select classid::regclass::text as catalog, array_agg(objid)::text as oids
                  from outside group by classid) o)                 as outside,
       array(select distinct n.catalog
               from pg_description
              cross join lateral (select case when objsubid > 0 then 'pg_attribute'
                                              when classoid = 'pg_largeobject'::regclass
                                                   then 'pg_largeobject_metadata'
                                              else classoid::regclass::text end as catalog) n
              -- oids are dealt from 16384 on once initdb is done (FirstNormalObjectId)
              where objoid >= 16384
                 or classoid in ('pg_namespace'::regclass, 'pg_extension'::regclass,
                                 'pg_largeobject'::regclass))       as commented,
       array(select distinct case when objsubid > 0 then 'pg_attribute'
                                  when classoid = 'pg_largeobject'::regclass
                                       then 'pg_largeobject_metadata'
                                  else classoid::regclass::text end
               from pg_seclabel)                                    as labelled,
       array(select distinct classid::regclass::text
               from pg_depend where deptype = 'x')                  as bound
  from pg_database d
 where d.datname = current_database()
