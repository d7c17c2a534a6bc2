select true as "b holds";
