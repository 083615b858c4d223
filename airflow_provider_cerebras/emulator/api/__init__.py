"""The two APIs of the service over HTTP: management and inference."""
