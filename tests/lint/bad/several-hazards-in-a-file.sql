-- A long file.
alter table app.products add column vat numeric default 0.2;
alter table app.products alter column size type bigint; --! changing-column-type

/* then what nobody needs */
alter table app.products drop column details; --! ban-drop-column
grant select on app.orders to public; --! grant-to-public
