copy (select 1) to stdout;
