select true as "c holds";
