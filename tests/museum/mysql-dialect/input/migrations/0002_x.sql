create table app.a (
  `id` int auto_increment
);
