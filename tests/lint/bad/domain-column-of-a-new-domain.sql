create domain app.grade as integer check (value between 1 and 6);
alter table app.products add column grade app.grade; --! add-domain-column
