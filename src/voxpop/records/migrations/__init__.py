"""Each change of the tables, in order; a released one is never edited. Each subject is a branch of its own."""
