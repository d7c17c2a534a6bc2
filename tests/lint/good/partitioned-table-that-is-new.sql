create table app.sales (id bigint, day date not null, primary key (id, day)) partition by range (day);
create table app.sales_2024 partition of app.sales for values from ('2024-01-01') to ('2025-01-01');
create table app.sales_rest partition of app.sales default;
create index sales_day on app.sales (day);
