"""The README's tables, each written from the results of one kind of program."""
