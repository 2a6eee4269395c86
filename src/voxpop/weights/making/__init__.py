"""A small Grok model of one's own, trained on posts for some minutes; it knows those posts and little else."""
