"""What a pipeline does to model versions and endpoints."""
