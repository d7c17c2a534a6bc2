alter table app.log add primary key (id); --! adding-serial-primary-key-field, duplicate-index
