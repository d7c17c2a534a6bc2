-- Pasted from a web page: the blank before integer is U+00A0, and part of the column's name.
create table notes (
    id integer
);
