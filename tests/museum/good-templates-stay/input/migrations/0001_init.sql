create schema app;
create table app.t (n int, v text); -- & < > {{ x }} %s :name
insert into app.t values (1, '${A.B}'), (2, '%s %(x)s %%'), (3, ':name'), (4, '{{ x }}'), (5, '$1'), (6, '&amp;'), (7, '<%= 1 %>'), (8, '?');
insert into app.t select 9, 'a' where 'abc' like '%b%' and 5 % 2 = 1 and array[1] @> array[1];
create function app.f(a int) returns int language sql as $$ select $1 $$;
