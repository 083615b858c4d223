"""Faults on request: which requests they hit, what they do, and the log of all requests."""
