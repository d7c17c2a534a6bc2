create function app.count_orders() returns bigint language sql stable --! security-definer-public
    security definer set search_path = ''
    as 'select count(*) from app.orders';
