"""Files of usage: what can be in one (`sources`, a module each), how it is written (`formats`), and those that a worker
makes (`making`). A file is of one state of the database, says of which in every row, and adds up to the totals of the
same calls to the last digit."""
