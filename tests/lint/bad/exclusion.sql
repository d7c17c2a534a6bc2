alter table app.customers add constraint one_born exclude using btree (name with =); --! adding-exclusion-constraint
