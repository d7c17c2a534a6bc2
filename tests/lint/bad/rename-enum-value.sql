alter type app.mood rename value 'glad' to 'happy'; --! renaming-object
