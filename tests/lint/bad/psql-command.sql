\set ON_ERROR_STOP on --! syntax
create table app.colours (id bigint primary key);
