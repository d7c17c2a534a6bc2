create table app.a ();
do $$ begin execute 'commit'; end $$;
