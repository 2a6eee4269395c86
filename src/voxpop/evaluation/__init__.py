"""Measure the goals of the house on any engine and write what was found; nothing that answers imports this."""
