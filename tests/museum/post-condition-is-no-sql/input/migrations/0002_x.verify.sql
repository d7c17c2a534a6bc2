select tru as as "x";
