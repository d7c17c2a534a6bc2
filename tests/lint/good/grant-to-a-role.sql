grant select, insert on app.orders to pg_monitor;
revoke all on app.orders from public;
