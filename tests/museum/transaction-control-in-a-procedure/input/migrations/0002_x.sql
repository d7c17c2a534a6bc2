create procedure app.p() language plpgsql as $$ begin commit; end $$;
create table app.a ();
call app.p();
