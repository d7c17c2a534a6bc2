create index if not exists customers_name on app.customers using btree (name); --! require-concurrent-index-creation
