-- –¼‘O
select 1;
