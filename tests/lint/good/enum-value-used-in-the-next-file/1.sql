alter type app.mood add value if not exists 'sad';
