select true as "a holds";
