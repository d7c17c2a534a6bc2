drop function app.doubled(integer); --! ban-drop-function
