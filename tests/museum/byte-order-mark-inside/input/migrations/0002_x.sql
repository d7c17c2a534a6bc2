select 1;
﻿create table app.a ();
