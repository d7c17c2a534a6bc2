select true as "fine";
select count(*) = 1 as "there is a row" from app.a;
