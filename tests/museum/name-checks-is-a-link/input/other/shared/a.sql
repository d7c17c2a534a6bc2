select true as "x";
