select 1;
create tablespace s location '/x';
