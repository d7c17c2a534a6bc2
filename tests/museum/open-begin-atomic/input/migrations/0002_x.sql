create function app.f() returns int language sql begin atomic
select 1;
