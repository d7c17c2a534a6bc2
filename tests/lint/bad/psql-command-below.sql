create table app.colours (id bigint primary key);
\i more.sql --! syntax
