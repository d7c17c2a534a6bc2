/* a */ -- b
copy app.t (id)
  from stdin with (format csv, delimiter ';');
1;2
