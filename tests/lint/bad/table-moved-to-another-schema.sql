alter table app.log set schema archive; --! renaming-table
