merge into app.products p
using (values (1::bigint, 'one')) as v (id, name) on p.id = v.id
when matched then update set name = v.name
when not matched then insert (name) values (v.name);
