"""Operators on model versions, weights and endpoints."""
