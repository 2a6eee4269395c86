"""Open weights of the Grok family: what they are, what runs them, one format from another, each proven right.

It runs nothing that a file holds. `plan` alone works without the extra `voxpop[weights]`; answering needs neither.
"""
