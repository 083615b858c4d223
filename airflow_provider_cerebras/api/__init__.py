"""The Cerebras Management API over httpx. Nothing here knows Airflow; it would be of use without it."""
