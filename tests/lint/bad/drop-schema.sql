drop schema archive; --! ban-drop-schema
