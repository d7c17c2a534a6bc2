delimiter //
create table app.a ();//
