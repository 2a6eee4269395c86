"""The files that checkpoints lie in, each read in place and written tensor by tensor; nothing in them is run."""
