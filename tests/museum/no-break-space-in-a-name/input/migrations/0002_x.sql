create table app.a (
  id int int
);
