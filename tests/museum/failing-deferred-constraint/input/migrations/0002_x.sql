alter table app.t add constraint u unique (id) deferrable initially deferred;
insert into app.t values (1), (1);
