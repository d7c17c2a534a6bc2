create table colours (id bigint generated always as identity primary key); --! require-table-schema
