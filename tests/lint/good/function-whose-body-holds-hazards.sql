-- Nothing of it runs now.
create function app.forget() returns void language plpgsql as $$
begin
    delete from app.log;
    truncate app.tickets;
    drop table if exists app.buffer;
end $$;
