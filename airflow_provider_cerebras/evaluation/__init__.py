"""Questions to a model, what its answers have to hold, and what they score. Imports no Airflow."""
