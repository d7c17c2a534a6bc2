create function app.widen() returns void language plpgsql as $$
begin
    alter table app.orders alter column qty type bigint;
end $$;
select app.widen(); --! rewrite
drop function app.widen();
