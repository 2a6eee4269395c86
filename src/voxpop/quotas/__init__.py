"""Who may still ask, what was used and what it cost; it keeps no key and no text of anybody."""
