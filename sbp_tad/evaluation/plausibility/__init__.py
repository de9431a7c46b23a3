"""Signs that a score cannot be right, with likely cause and cure."""
