alter table app.customers add column note text;
update app.orders set status = 'old' where comment_text like 'x%'; --! work-after-lock
