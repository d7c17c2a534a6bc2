select 1;
create subscription s connection 'x' publication p;
