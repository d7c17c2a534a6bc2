create table app.colours (id bigint primary key);
alter table app.colours
    add colum name text; --! syntax
