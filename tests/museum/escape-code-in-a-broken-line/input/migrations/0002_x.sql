select '[31mred' 1 2;
