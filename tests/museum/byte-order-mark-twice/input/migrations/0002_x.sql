﻿select 1;
