select true as "a", true as "b";
