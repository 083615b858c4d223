"""The Cerebras Management API as a server on one's own machine, for development and for tests."""
