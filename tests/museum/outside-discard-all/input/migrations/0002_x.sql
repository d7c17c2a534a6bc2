select 1;
discard all;
