create table app.a ();
end;
