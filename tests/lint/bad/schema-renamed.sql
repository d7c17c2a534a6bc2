alter schema archive rename to attic; --! renaming-object
