"""Commands for people and scripts: what serves, which versions there are, and what is wrong with the set-up.

Every command only reads. Airflow 3.2 and later has them as ``airflow cerebras``;
``python -m airflow_provider_cerebras`` has the same on every Airflow.
"""
