create table if not exists app.customers (id bigint primary key);
create table if not exists app.colours (id bigint primary key);
