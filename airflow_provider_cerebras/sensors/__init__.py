"""Waiting for what another task, or another system, has begun."""
