select true as "é";
