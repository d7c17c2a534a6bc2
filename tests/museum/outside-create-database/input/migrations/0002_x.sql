select 1;
create database other;
