"""``python -m airflow_provider_cerebras``: the commands of :mod:`.cli`, on every Airflow."""

from __future__ import annotations

from airflow_provider_cerebras.cli.definition import main

if __name__ == "__main__":
    main()
