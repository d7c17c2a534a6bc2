select 1;
cluster;
