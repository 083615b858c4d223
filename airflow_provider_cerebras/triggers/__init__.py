"""Waiting on the triggerer. What runs only ever reads, since it may run twice at once."""
