select 1;
alter table app.t detach partition app.p concurrently;
