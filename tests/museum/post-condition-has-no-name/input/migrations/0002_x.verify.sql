select true;
