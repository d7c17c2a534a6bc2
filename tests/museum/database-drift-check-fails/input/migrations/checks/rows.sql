select count(*) = 0 as "every row has a number" from app.a where i is null;
