"""The service: its state, and the changes that it allows. It does not depend on HTTP."""
