select set_config('search_path', 'app', false); --! setting-left
