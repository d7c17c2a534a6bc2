drop type app.mood cascade; --! ban-drop-type, drop-cascade, cascade, lock-elsewhere
