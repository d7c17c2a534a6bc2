create function app.count_orders() returns bigint language sql stable
security definer --! security-definer-search-path
as 'select count(*) from app.orders';
revoke execute on function app.count_orders() from public;
