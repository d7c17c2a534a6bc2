set local search_path = app;
create index customers_name on customers (name); --! require-concurrent-index-creation
