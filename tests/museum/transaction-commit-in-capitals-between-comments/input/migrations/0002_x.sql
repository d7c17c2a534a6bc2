select 1;/**/COMMIT/**/;
