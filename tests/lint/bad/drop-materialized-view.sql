drop materialized view app.daily; --! ban-drop-view
