"""Acting: typed functions that a model calls, and what they act on."""
