create schema app;
create table app.t (n int, v text);
insert into app.t values (1, 'a;b'), (2, E'it\'s;'), (3, 'a\'), (4, U&'\003b;'), (5, 'x''y;'), (6, $$;'$$);
insert into app.t values (7, 'a;'
    'b'), (8, E'\\'), (9, ';--'), (10, '/*;');
create table app.";" (";--" int, "a""b;" int, U&"\0061;" int);
