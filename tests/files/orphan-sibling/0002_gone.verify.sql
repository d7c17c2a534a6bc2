select true as "it holds";
