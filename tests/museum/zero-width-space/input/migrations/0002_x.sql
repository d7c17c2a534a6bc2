select​ 1;
