alter table app.products alter weight type numeric(8, 2); --! changing-column-type
