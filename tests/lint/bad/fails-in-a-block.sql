do $$
declare
    few integer;
begin
    select 1 / 0 into few; --! fails
end $$;
