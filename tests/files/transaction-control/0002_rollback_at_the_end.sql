-- museum item 14: recorded, and never applied.
begin;
create table c ();
rollback;
