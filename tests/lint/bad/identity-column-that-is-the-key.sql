alter table app.log
    add column no bigint generated always as identity --! add-serial-column
        primary key; --! adding-serial-primary-key-field
