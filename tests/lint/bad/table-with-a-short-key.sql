create table app.colours (
    id integer generated always as identity primary key, --! integer-primary-key
    name text not null
);
