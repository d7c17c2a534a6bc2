drop view app.order_list; --! ban-drop-view
