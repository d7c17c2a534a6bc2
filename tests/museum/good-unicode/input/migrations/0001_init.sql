create schema app; -- 😀
create table app.名前 (été text);
insert into app.名前 values ('ü😀€');
