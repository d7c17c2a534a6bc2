lock table app.orders in share update exclusive mode;
