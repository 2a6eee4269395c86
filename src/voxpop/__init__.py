"""voxpop answers questions from what people are posting right now, each sentence cited and checked."""

__version__ = "0.1.0"
