alter table app.customers add constraint customers_name_key unique (name); --! disallowed-unique-constraint
