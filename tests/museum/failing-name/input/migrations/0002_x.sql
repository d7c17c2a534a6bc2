-- é€😀
select 'é', nowhere from app.t;
