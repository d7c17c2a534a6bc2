create schema app;
create function app.f(i int) returns int language sql begin atomic
    select i;
    select case when i > 0 then (select case i when 1 then 10 end) else 0 end;
end;
create table app.t (i int);
create procedure app.p() language sql begin atomic insert into app.t values (1); insert into app.t values (2); end;
call app.p();
