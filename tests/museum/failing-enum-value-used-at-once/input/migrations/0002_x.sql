alter type app.e add value 'b';
insert into app.e_t values ('b');
