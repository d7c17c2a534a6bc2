alter type app.mood add value 'sad';
update app.customers set mood = 'sad'::app.mood where id = 1; --! enum-value-used, fails
