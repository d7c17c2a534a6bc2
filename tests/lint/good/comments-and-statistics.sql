-- drop table app.orders; is only a comment
comment on table app.orders is 'drop table app.orders cascade; -- is only a text';
alter table app.orders alter column qty set statistics 500;
alter table app.orders set (fillfactor = 90);
alter table app.orders alter column status set default 'fresh';
alter table app.orders alter column comment_text set storage external;
