select true as "x";
commit;
