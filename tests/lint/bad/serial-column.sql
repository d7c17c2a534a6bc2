alter table app.log add column no bigserial; --! add-serial-column
