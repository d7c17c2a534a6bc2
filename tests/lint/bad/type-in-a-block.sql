do $$
begin
    alter table app.orders alter column qty type bigint; --! changing-column-type
end;
$$ language plpgsql;
