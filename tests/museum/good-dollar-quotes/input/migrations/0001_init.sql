create schema app;
create function app.f() returns int language plpgsql as $$ begin perform 1; return 1; end; $$;
create function app.g() returns text language plpgsql as $body$
begin
    execute $q$ select $$;$$ $q$;
    return $$a;b$$;
end;
$body$;
do $$ begin create table app.t (i int); insert into app.t values (7); end $$;
