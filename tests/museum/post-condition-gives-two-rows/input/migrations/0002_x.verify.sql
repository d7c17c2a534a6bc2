select true as "one" from generate_series(1, 2);
