with x as (delete from app.t returning 1) select count(*) = 0 as "none" from x;
