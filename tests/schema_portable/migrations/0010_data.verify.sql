SELECT count(*) = 2 AS "every person has a task" FROM app.tasks;
SELECT bool_and(tableoid = 'app.events_2024_clicks'::regclass) AS "clicks are in their partition"
  FROM app.events WHERE kind = 'click';
