-- headwater: no-transaction
set client_encoding = 'UTF8';
set standard_conforming_strings = on;
create schema app;
create table app.t (v text default 'a\');
