alter type app.mood add value 'sad' before 'calm';
