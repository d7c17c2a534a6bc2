create function app.count_orders() returns bigint language sql stable security definer
    set search_path = ''
    as 'select count(*) from app.orders';
revoke execute on function app.count_orders() from public;
grant execute on function app.count_orders() to pg_monitor;
