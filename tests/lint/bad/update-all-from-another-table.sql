UPDATE app.orders AS o --! update-without-where
   SET total = 0
  FROM app.customers AS c;
