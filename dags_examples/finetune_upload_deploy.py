"""Every week: fine-tune, check, upload, deploy, and make sure that the version just made is the one that answers.

    fine_tune -> check -> upload -> wait_for_sync -> deploy -> wait_for_rollout -> verify

The two waits hold no worker slot: they are deferred to the triggerer. Before the first run, set

* the connection `cerebras_default`: password = management API key, extra = `org_name`, `inference_api_key`;
* the connection `aws_default`, which may write to the bucket (Cerebras must be allowed to read it);
* the parameters below: their defaults here, or others for a single run in "Trigger DAG".
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.common.compat.sdk import Param, dag, task

from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators.endpoints import CerebrasDeployModelOperator
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.operators.weights import CerebrasCheckWeightsOperator
from airflow_provider_cerebras.sensors.endpoints import CerebrasDeploymentSensor
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from airflow_provider_cerebras.weights import weights_digest

CORPUS = Path(__file__).with_name("corpus.txt")


@task
def fine_tune(s3_folder: str, run: str) -> dict[str, str]:
    """Train, and put the weights where Cerebras can read them, in a folder that belongs to this run alone."""
    from bigram import train  # imported here, for the DAG processor has no need of numpy

    trained = train(CORPUS.read_text(encoding="utf-8"), seed=run)
    if trained.last_loss >= trained.first_loss:
        raise ValueError("The loss did not fall: these weights are not worth an upload.")
    weight_uri = f"{s3_folder}/{re.sub('[^0-9A-Za-z_-]', '-', run)}"
    s3 = S3Hook()
    s3.load_bytes(trained.model_safetensors, f"{weight_uri}/model.safetensors", replace=True)
    s3.load_string(json.dumps(trained.config), f"{weight_uri}/config.json", replace=True)
    sha256 = hashlib.sha256(trained.model_safetensors).hexdigest()[:12]
    return {"weight_uri": weight_uri, "digest": weights_digest(weight_uri), "sha256": sha256}


@task
def verify(endpoint_id: str, suffix: str) -> dict[str, str]:
    """Ask the endpoint, and make sure that this run's version answers: the suffix is text that the upload carried.

    That the bytes in S3 did not change while the service read them is what the digest has told, before and after.
    """
    answer = CerebrasHook().chat_completion(endpoint_id, [{"role": "user", "content": "What is the sea like?"}])
    fingerprint = answer.system_fingerprint or ""
    if not fingerprint.endswith(suffix):
        raise ValueError(f"{endpoint_id} answers with {fingerprint!r}, not with the version of the suffix {suffix}.")
    return {"system_fingerprint": fingerprint, "answer": answer.choices[0].message.content or ""}


@dag(
    schedule="@weekly",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={
        "model_arch_id": Param("gpt-oss-120b", type="string"),
        "endpoint_id": Param("my-org-gpt-oss-120b", type="string"),
        "s3_folder": Param("s3://my-bucket/fine-tunes", type="string", pattern="^s3://.+[^/]$"),
    },
    tags=["cerebras", "example"],
    doc_md=__doc__,
)
def finetune_upload_deploy() -> None:
    """From a text to an endpoint that speaks like it."""
    endpoint_id = "{{ params.endpoint_id }}"
    weights: Any = fine_tune("{{ params.s3_folder }}", "{{ run_id }}")
    arch, uri, digest = "{{ params.model_arch_id }}", weights["weight_uri"], weights["digest"]
    check = CerebrasCheckWeightsOperator(task_id="check", weight_uri=uri, model_arch_id=arch, weights_digest=digest)
    same = {"weights_digest": digest, "aws_conn_id": "aws_default"}  # other weights are WeightsChanged
    upload = CerebrasUploadModelVersionOperator(
        task_id="upload", model_arch_id=arch, weight_uri=uri, system_fingerprint_suffix=weights["sha256"], **same
    )
    wait_for_sync = CerebrasModelVersionSensor(
        task_id="wait_for_sync", model_version=upload.output, deferrable=True, **same
    )
    deploy = CerebrasDeployModelOperator(task_id="deploy", endpoint_id=endpoint_id, model_version=wait_for_sync.output)
    wait_for_rollout = CerebrasDeploymentSensor(
        task_id="wait_for_rollout", endpoint_id=endpoint_id, deployment_id=deploy.output, deferrable=True
    )
    check >> upload
    wait_for_rollout >> verify(endpoint_id, weights["sha256"])


finetune_upload_deploy()
