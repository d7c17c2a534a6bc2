drop type app.address; --! ban-drop-type
