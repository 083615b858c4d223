"""An Airflow connection becomes a client of the API."""
