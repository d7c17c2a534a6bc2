insert into app.t
values ('it’s');
