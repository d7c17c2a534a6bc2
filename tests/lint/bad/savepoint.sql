savepoint before_all; --! transaction-control
create table app.colours (id bigint primary key);
