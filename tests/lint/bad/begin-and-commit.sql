begin; --! transaction-control
create table app.colours (id bigint primary key);
commit; --! transaction-control
