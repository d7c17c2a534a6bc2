create temporary table picked on commit drop as select id from app.orders where qty > 10;
create index on picked (id);
update app.orders set status = 'picked' where id in (select id from picked);
