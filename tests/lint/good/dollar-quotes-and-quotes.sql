comment on table app.log is $c$it's; -- no comment $$ and no end$c$;
select 'a '' quote; drop table app.log' as said, E'\' ; delete from app.log';
