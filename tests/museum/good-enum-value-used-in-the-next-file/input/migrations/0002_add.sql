alter type app.e add value 'b';
