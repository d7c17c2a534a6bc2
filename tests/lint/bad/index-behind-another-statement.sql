comment on table app.customers is 'Who buys.';

/* The search
   asks for names. */ create index customers_name on app.customers (name); --! require-concurrent-index-creation
