create schema app;
create table app.a$b$c (x$ int);
create function app.f(int) returns int language sql return $1 + 1;
create function app.g() returns text language sql as $é_1$ select ';$$' $é_1$;
