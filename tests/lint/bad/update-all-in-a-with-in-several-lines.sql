with changed as (
    update app.orders set status = 'old' returning id --! update-without-where
)
insert into app.log (id, line) select 1000 + id, 'changed' from changed;
