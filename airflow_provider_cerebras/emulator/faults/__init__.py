"""Injected faults: the requests that they hit, their effects, and the log of all requests."""
