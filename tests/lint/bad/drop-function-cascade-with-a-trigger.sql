drop function app.touch cascade; --! ban-drop-function, drop-cascade, lock-elsewhere
