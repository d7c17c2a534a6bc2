-- museum item 13: the first table would stay, the second not, and nobody would know.
create table a ();
commit;
create table b ();
select 1 / 0;
