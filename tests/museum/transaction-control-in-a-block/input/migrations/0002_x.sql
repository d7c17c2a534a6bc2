create table app.a ();
do $$
begin
  create table app.b ();
  commit;
end $$;
