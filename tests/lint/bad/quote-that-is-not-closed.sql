create table app.colours (id bigint primary key);
comment on table app.colours is 'never ends; --! syntax
