create extension no_such_extension;
