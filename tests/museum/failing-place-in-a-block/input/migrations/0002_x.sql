select 1;
do $$
begin
  perform 1;
  perform 1/0;
end $$;
