lock table app.t in access exclusive mode;
alter table app.t add column n int;
