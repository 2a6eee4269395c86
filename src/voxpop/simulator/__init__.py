"""A made-up election night that speaks the wire of a real network; it imports nothing from the rest of voxpop."""
