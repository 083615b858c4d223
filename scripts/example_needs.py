"""What the example DAGs need to find before their first run, read from their own text."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import httpx
import numpy as np
from safetensors.numpy import save

from airflow_provider_cerebras.emulator.control.client import EmulatorClient

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

SEEDED = "fine-tunes/seeded"
"""Folder of the weights of the version that is there from the start."""
_DAYS_BACK, _DAYS_AHEAD = 8, 7


class Needs(NamedTuple):
    """Names that the example DAGs use.

    :param endpoints: ids of endpoints.
    :param folders: folders of weights in the bucket, without a slash at the end.
    :param aliases: aliases by which versions are named.
    :param connections: ids of connections to Cerebras.
    :param pools: Airflow's pools.
    """

    endpoints: frozenset[str]
    folders: frozenset[str]
    aliases: frozenset[str]
    connections: frozenset[str]
    pools: frozenset[str]


def read_needs(dags: Path, bucket: str, today: date) -> Needs:
    """What the DAGs of a folder name.

    :param bucket: the bucket of the weights.
    :param today: ``{{ ds }}`` in a folder's name stands for the days around it.
    """
    text = "\n".join(file.read_text(encoding="utf-8") for file in sorted(dags.glob("*.py")))

    def found(pattern: str) -> frozenset[str]:
        return frozenset(re.findall(pattern, text))

    days = [str(today + timedelta(days=each)) for each in range(-_DAYS_BACK, _DAYS_AHEAD + 1)]
    folders = {
        re.sub(r"\{\{ *ds *\}\}", day, folder).rstrip("/")
        for folder in found(rf"""["']s3://{re.escape(bucket)}/([^"']+)["']""")
        for day in days
    }
    return Needs(
        endpoints=found(r"""["'](my-org-[\w.-]+)["']"""),
        folders=frozenset(folders),
        aliases=found(r"/versions/([A-Za-z][\w.-]*)"),
        connections=found(r"""cerebras_conn_id=["'](\w+)["']"""),
        pools=found(r"""\bpool=["'](\w+)["']"""),
    )


def put_weights(s3_url: str, bucket: str, folders: frozenset[str]) -> None:
    """Make the bucket, with weights of their own in each folder."""
    with httpx.Client(base_url=s3_url, trust_env=False) as s3:
        s3.put(f"/{bucket}").raise_for_status()
        for folder in sorted(folders):
            content = save({"logits": np.random.default_rng(list(folder.encode())).random((8, 8), np.float32)})
            for name, body in (("model.safetensors", content), ("config.json", b'{"model_type": "bigram"}')):
                s3.put(f"/{bucket}/{folder}/{name}", content=body).raise_for_status()


def prepare_service(url: str, bucket: str, needs: Needs) -> None:
    """Give the emulator the endpoints, and one version that holds the aliases.

    :param url: the emulator's.
    """
    with EmulatorClient(url) as emulator:
        for endpoint in sorted(needs.endpoints - emulator.endpoints().keys()):
            emulator.add_endpoint(endpoint)
        emulator.upload(f"s3://{bucket}/{SEEDED}", *sorted(needs.aliases))
