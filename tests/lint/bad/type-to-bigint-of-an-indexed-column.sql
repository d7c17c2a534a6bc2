alter table app.products alter column size type bigint; --! changing-column-type
