alter table app.tickets alter column id type bigint; --! changing-column-type, narrow-sequence
