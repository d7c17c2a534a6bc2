select null::boolean as "known";
