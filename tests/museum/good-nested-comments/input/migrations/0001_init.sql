/* a /* ; */ b; */ create schema app; -- c; d
/* commit; /* rollback; */ \i x */
create table app.t (i int /* ; /* */ ' */); -- it's
/**/ insert into app.t values (1) /*/ */ -- */
;
