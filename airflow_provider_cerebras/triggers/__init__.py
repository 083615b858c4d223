"""Waiting on the triggerer. Triggers only ever read, since one of them may run twice at once."""
