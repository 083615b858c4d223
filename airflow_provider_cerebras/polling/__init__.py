"""Waiting: what one response means to one who waits, how often to ask, and one poll for all who wait."""
