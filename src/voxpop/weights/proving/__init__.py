"""Is a file what it was made from, and how good is it? Compared, computed and measured; it writes no weights."""
