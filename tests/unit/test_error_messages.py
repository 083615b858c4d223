"""Each error says what failed, of which resource, in whose words, and what to do next.

Each class is provoked by what users call: operators, sensors, the hook, a client. The service is the emulator.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import messages
import pytest
from message_texts import read_code

import airflow_provider_cerebras
from airflow_provider_cerebras import exceptions
from airflow_provider_cerebras.api import errors, names, operations, settings
from airflow_provider_cerebras.api.client import CerebrasClient, ClientSettings
from airflow_provider_cerebras.assets.record import Record, ReleaseOutcome
from airflow_provider_cerebras.cli import records
from airflow_provider_cerebras.emulator.api.operations import OperationName
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators._release import record_path, store_record
from airflow_provider_cerebras.operators.endpoints import (
    CerebrasDeployModelOperator,
    CerebrasRollbackEndpointOperator,
    CerebrasVerifyEndpointOperator,
)
from airflow_provider_cerebras.operators.evaluation import CerebrasEvaluateEndpointOperator
from airflow_provider_cerebras.operators.model_versions import (
    CerebrasDeleteModelVersionOperator,
    CerebrasUploadModelVersionOperator,
)
from airflow_provider_cerebras.operators.weights import CerebrasCheckWeightsOperator
from airflow_provider_cerebras.sensors.endpoints import CerebrasDeploymentSensor
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from airflow_provider_cerebras.task_groups import cerebras_release
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_1_PLUS
from airflow_provider_cerebras.weights import errors as weights_errors
from airflow_provider_cerebras.weights import weights_digest
from tests.s3 import aws_connection, empty_bucket, put, s3_service
from tests.task_instance import TaskInstance
from tests.unit.durable import world as without_sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.providers.common.compat.sdk import DAG

    from tests.integration.dag_run import DagRunner
    from tests.unit.conftest import Service

    Provoke = Callable[["Scene"], object]
    Register = Callable[[Provoke], Provoke]

PACKAGE = Path(airflow_provider_cerebras.__file__).parent
WORDS = "the maintainer of the bucket is on holiday (E17)"
"""What the service says, in no words of ours."""
URI = "s3://models/run-1"
ARCH = "gpt-oss-120b"
V1 = f"orgs/my-org/models/{ARCH}/versions/1"
V2 = f"orgs/my-org/models/{ARCH}/versions/2"
ENDPOINT = f"my-org-{ARCH}"
DEPLOYMENT = "550e8400-e29b-41d4-a716-446655440000"
CHAT = [{"role": "user", "content": "What is 2 plus 2?"}]
QUICKLY: dict[str, Any] = {"poll_interval": 0.01, "timeout": 0.05, "wait_for_completion": True, "deferrable": False}
INSIDE = {
    "BadHeader": "becomes a finding of the check",
    "BadJson": "becomes a finding of the check, or is put behind the name of a file",
    "CerebrasAPIError": "a base of those below",
    "CerebrasError": "a base of those below",
    "ConnectionNotFound": "becomes the words of a wait that ends as unreachable",
    "NotListedError": "leads to a request for the version alone",
}
"""Classes in public modules that no user meets."""
FILLED_IN = re.compile("\0.*?\1")
REPEAT_OTHERS = {exceptions.ReleaseFailed, exceptions.RequestRefused}
"""Errors whose message is that of another error, or a sentence that holds one."""


@dataclass
class Scene:
    """What an error is provoked in."""

    service: Service
    fixture: Callable[[str], Any]
    monkeypatch: pytest.MonkeyPatch
    folder: Path

    def refuse(self, operation: str, status: int, **rule: Any) -> None:
        """Let the service refuse each request of a kind."""
        self.spoil(operation, status=status, body={"detail": WORDS}, **rule)

    def spoil(self, operation: str, **rule: Any) -> None:
        """Let something happen to each request of a kind, and no client repeat one."""
        connection = self.service.connection(extra={"max_retries": 0})
        self.monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", connection)
        self.service.add_fault(operation, times=None, **rule)

    def s3(self, **files: bytes) -> str:
        """Put files under the URI, by their names without the suffix; return the URL of S3."""
        url: str = self.fixture("s3_url")
        self.monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(url))
        put(empty_bucket(url, "models"), "models", "run-1", {f"{name}.json": body for name, body in files.items()})
        return url


class Case(NamedTuple):
    """A way to an error, and what its message has to have.

    :param failed: what failed.
    :param resource: the id of what it is about.
    :param remedy: what to do.
    :param words: what the service or the machine has said, if it has said anything.
    """

    error: type[Exception]
    provoke: Provoke
    failed: str
    resource: str
    remedy: str
    words: str | None


CASES: dict[str, Case] = {}


def provokes(error: type[Exception], *, failed: str, resource: str, remedy: str, words: str | None = None) -> Register:
    def register(provoke: Provoke) -> Provoke:
        assert provoke.__name__ not in CASES
        CASES[provoke.__name__] = Case(error, provoke, failed, resource, remedy, words)
        return provoke

    return register


def public_errors() -> set[type[Exception]]:
    """The errors in all public modules of the package, but for those of the emulator, a program of its own."""
    found = set()
    for module in pkgutil.walk_packages([str(PACKAGE)], f"{PACKAGE.name}."):
        parts = module.name.split(".")
        if any(part.startswith("_") for part in parts) or "emulator" in parts:
            continue
        try:
            content = vars(importlib.import_module(module.name))
        except ImportError as error:
            assert "needs Airflow" in str(error)  # noqa: PT017
            continue
        found |= {
            value
            for value in content.values()
            if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == module.name
        }
    return {error for error in found if not error.__name__.startswith("_")}


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with s3_service() as url:
        yield url


@pytest.fixture
def scene(
    service: Service, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_span: None
) -> Scene:
    return Scene(service, request.getfixturevalue, monkeypatch, tmp_path)


def run(operator: Any, **notes: Any) -> Any:
    return operator.execute({"ti": TaskInstance(**notes)})


def upload(**changes: Any) -> CerebrasUploadModelVersionOperator:
    return CerebrasUploadModelVersionOperator(
        task_id="task", retries=2, **{"model_arch_id": ARCH, "weight_uri": URI, **changes}
    )


def deploy(**changes: Any) -> CerebrasDeployModelOperator:
    return CerebrasDeployModelOperator(task_id="task", **{"endpoint_id": ENDPOINT, "model_version": V1, **changes})


def roll_back(**changes: Any) -> CerebrasRollbackEndpointOperator:
    return CerebrasRollbackEndpointOperator(task_id="task", endpoint_id=ENDPOINT, **{**QUICKLY, **changes})


def wait_for_version(model_version: str, **changes: Any) -> CerebrasModelVersionSensor:
    return CerebrasModelVersionSensor(
        task_id="task", **{"model_version": model_version, "poke_interval": 0.01, "timeout": 60, **changes}
    )


def wait_for_deployment(deployment_id: str, **changes: Any) -> CerebrasDeploymentSensor:
    return CerebrasDeploymentSensor(
        task_id="task",
        **{"endpoint_id": ENDPOINT, "deployment_id": deployment_id, "poke_interval": 0.01, "timeout": 60, **changes},
    )


def verify(**changes: Any) -> CerebrasVerifyEndpointOperator:
    return CerebrasVerifyEndpointOperator(
        task_id="task", **{"endpoint_id": ENDPOINT, "messages": CHAT, "settle_timeout": 0, **changes}
    )


def evaluate(**changes: Any) -> CerebrasEvaluateEndpointOperator:
    row = {"id": "sum", "messages": CHAT, "expected": "4"}
    return CerebrasEvaluateEndpointOperator(
        task_id="task", **{"endpoint_id": ENDPOINT, "dataset": [row], "require": {"pass_rate": 1}, **changes}
    )


# Arguments and connections


@provokes(
    exceptions.InvalidArgument,
    failed="is not of the form",
    resource="weight_uri: 'gs://models/run-1'",
    remedy="s3://bucket/prefix",
)
def wrong_argument(scene: Scene) -> None:
    run(upload(weight_uri="gs://models/run-1"))


@provokes(
    names.InvalidValue,
    failed="is not a model version",
    resource="model_version: '7'",
    remedy="orgs/<organization>/models/<architecture>/versions/<number or alias>",
)
def wrong_value(scene: Scene) -> None:
    CerebrasHook().get_model_version("7")


@provokes(
    exceptions.ConnectionUnusable,
    failed="is not defined",
    resource="Connection 'nowhere'",
    remedy="Define it",
)
def no_connection(scene: Scene) -> None:
    CerebrasHook(cerebras_conn_id="nowhere").get_conn()


@provokes(
    exceptions.ConnectionUnusable,
    failed="is empty",
    resource="Connection 'cerebras_default', field password",
    remedy="it must hold the management API key",
)
def no_key(scene: Scene) -> None:
    scene.monkeypatch.setenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", scene.service.connection(password=""))
    CerebrasHook().get_conn()


@provokes(
    settings.EnvironmentUnusable,
    failed="cannot be read as CA certificates",
    resource="environment variable SSL_CERT_FILE: '/no/such/file'",
    remedy="Correct the variable, or unset it",
)
def unusable_environment(scene: Scene) -> None:
    scene.monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    CerebrasClient(ClientSettings(management_key="key"))


# Model versions and their weights


@provokes(
    exceptions.ModelVersionFailed,
    failed="failed to sync",
    resource=V1,
    words=WORDS,
    remedy="then upload again",
)
def failed_sync(scene: Scene) -> None:
    run(wait_for_version(scene.service.new_version(fail=WORDS)))


@provokes(
    exceptions.ModelVersionLost,
    failed="is not known to the service",
    resource=V1,
    words="answered 404",
    remedy="Compare the name with",
)
def deleted_version(scene: Scene) -> None:
    run(wait_for_version(V1))


@provokes(
    exceptions.WeightsRejected,
    failed="are rejected",
    resource=URI,
    remedy="Copy",
)
def broken_weights(scene: Scene) -> None:
    scene.s3(config=b"[]")
    run(CerebrasCheckWeightsOperator(task_id="task", weight_uri=URI, model_arch_id=ARCH))


@provokes(
    exceptions.WeightsChanged,
    failed="are not those with the digest",
    resource=URI,
    remedy="Find out what wrote there",
)
def other_weights(scene: Scene) -> None:
    scene.s3(config=b"{}")
    run(CerebrasCheckWeightsOperator(task_id="task", weight_uri=URI, model_arch_id=ARCH, weights_digest="0" * 64))


@provokes(
    exceptions.WeightsChanged,
    failed="are not those with the digest",
    resource=URI,
    remedy="Find out what wrote there",
)
def other_weights_at_the_upload(scene: Scene) -> None:
    scene.s3(config=b"{}")
    run(upload(aws_conn_id="aws_default", weights_digest="0" * 64))


@provokes(
    weights_errors.WeightsNotFound,
    failed="There is no object under",
    resource=URI,
    remedy="Correct the URI",
)
def no_weights(scene: Scene) -> None:
    scene.s3()
    weights_digest(URI)


@provokes(
    weights_errors.WeightsNotFound,
    failed="There is no object under",
    resource=URI,
    remedy="Correct the URI",
)
def no_weights_at_the_upload(scene: Scene) -> None:
    scene.s3()
    run(upload(aws_conn_id="aws_default"))


@provokes(
    weights_errors.WeightsNotFound,
    failed="there is no bucket",
    resource="'nowhere'",
    remedy="Correct the URI",
)
def no_bucket(scene: Scene) -> None:
    scene.s3()
    weights_digest("s3://nowhere/run-1")


@provokes(
    weights_errors.WeightsUnreadable,
    failed="cannot be read",
    resource=URI,
    words="Could not connect to the endpoint URL",
    remedy="Check its endpoint, region and credentials",
)
def no_s3(scene: Scene) -> None:
    scene.monkeypatch.setenv("AIRFLOW_CONN_NOT_THERE", aws_connection("http://127.0.0.1:1"))
    weights_digest(URI, aws_conn_id="not_there")


@provokes(
    weights_errors.S3ExtraMissing,
    failed="Reading weights from S3 needs the Amazon provider",
    resource="airflow-provider-cerebras[s3]",
    remedy="pip install",
)
def no_amazon_provider(scene: Scene) -> None:
    scene.monkeypatch.setitem(sys.modules, "airflow.providers.amazon.aws.hooks.s3", None)
    weights_digest(URI)


# Aliases


@provokes(
    exceptions.AliasInUse,
    failed="is held by",
    resource=V1,
    remedy="set move_aliases=True",
)
def taken_alias(scene: Scene) -> None:
    scene.service.new_version("prod")
    run(upload(version_aliases=["prod"]))


@provokes(
    exceptions.IdentityInUse,
    failed="but its customer_s3_uri is s3://my-bucket/weights, not s3://models/run-1",
    resource=V2,
    remedy="clear this task",
)
def taken_identity(scene: Scene) -> None:
    run(upload(), max_tries=2)
    (alias,) = scene.service.versions()[V1].aliases
    scene.service.api("PATCH", f"/{V1}", {"version_aliases": []})
    scene.service.new_version(alias)
    run(upload(), try_number=2, max_tries=2)


@provokes(
    exceptions.AliasesUnsettled,
    failed="The service was to add latest",
    resource=without_sockets.name(1),
    words="but has",
    remedy="A retry of this task goes on from there",
)
def unsettled_aliases(scene: Scene) -> None:
    service = without_sockets.Service()
    without_sockets.Attempt(service).upload(without_sockets.request())
    content = {"name": without_sockets.name(1), "version_aliases": ["latest"]}
    done = httpx.Response(200, json=content)
    set_aliases = OperationName.UPDATE_MODEL_VERSION_ALIASES
    lost = without_sockets.Mishap(set_aliases, done, worked=False, times=99)
    try:
        without_sockets.Attempt(service, [lost]).upload(without_sockets.request(without_sockets.RETRY, "latest"))
    finally:
        service.close()


@provokes(
    exceptions.VersionInUse,
    failed="so it was not deleted",
    resource=f"{V1} serves on endpoint {ENDPOINT}",
    remedy="Deploy another version there first",
)
def serving_version(scene: Scene) -> None:
    scene.service.new_deployment()
    run(CerebrasDeleteModelVersionOperator(task_id="task", model_version=V1))


# Rollouts


@provokes(
    exceptions.DeploymentFailed,
    failed="failed to roll out",
    resource=ENDPOINT,
    words="state 'failed'",
    remedy="fix the cause, and clear the task that deploys",
)
def failed_rollout_for_a_sensor(scene: Scene) -> None:
    run(wait_for_deployment(scene.service.new_deployment(fail=WORDS)))


@provokes(
    exceptions.DeploymentFailed,
    failed="failed to roll out",
    resource=f"Model version {V2} was not rolled out",
    words="(state 'failed')",
    remedy=f"Now {V1} serves there. Fix the cause before you clear this task",
)
def failed_rollout(scene: Scene) -> None:
    scene.service.new_deployment()
    scene.service.new_version()
    scene.service.change_behaviour(rollout_seconds=0)
    scene.service.fail_next_rollout(WORDS)
    run(deploy(**{**QUICKLY, "model_version": V2, "timeout": 60}))


@provokes(
    exceptions.DeploymentFailed,
    failed="failed to roll out",
    resource=f"Model version {V2} was not rolled out",
    words="(state 'failed')",
    remedy=f"{V1}, which served before, was deployed again and serves. Fix the cause before you clear this task",
)
def failed_rollout_that_is_taken_back(scene: Scene) -> None:
    scene.service.new_deployment()
    scene.service.new_version()
    scene.service.change_behaviour(rollout_seconds=0)
    scene.service.fail_next_rollout(WORDS)
    run(deploy(**{**QUICKLY, "model_version": V2, "timeout": 60, "rollback_on_failure": True}))


@provokes(
    exceptions.DeploymentLost,
    failed="is not listed",
    resource=ENDPOINT,
    remedy="To deploy this one all the same, clear the task that deploys",
)
def superseded_rollout(scene: Scene) -> None:
    scene.service.new_version()
    entry = {"id": DEPLOYMENT, "model": V2, "created": 2**40, "state": "complete"}
    body = {"name": ENDPOINT, "deployed_models": [entry]}
    scene.service.add_fault("get_endpoint", skip=1, times=None, body=body)
    run(deploy(**{**QUICKLY, "timeout": 60}))


@provokes(
    exceptions.RollbackRefused,
    failed="was not rolled back",
    resource=ENDPOINT,
    remedy="CerebrasRollbackEndpointOperator(to=...)",
)
def rollback_of_an_older_deployment(scene: Scene) -> None:
    first = scene.service.new_deployment()
    scene.service.new_deployment()
    run(roll_back(deployment_id=first))


@provokes(
    exceptions.NothingToRollBackTo,
    failed="cannot be rolled back",
    resource=ENDPOINT,
    remedy="CerebrasRollbackEndpointOperator(to=...)",
)
def nothing_served_before(scene: Scene) -> None:
    scene.service.new_deployment()
    run(roll_back())


@provokes(
    exceptions.WaitTimeout,
    failed="had not ended by the deadline",
    resource=V1,
    words="sync_status 'queued'",
    remedy="raise timeout",
)
def slow_sync(scene: Scene) -> None:
    run(upload(**QUICKLY))


@provokes(
    exceptions.UnexpectedTriggerEvent,
    failed="event has no",
    resource="deployment_id",
    remedy="the same version of airflow-provider-cerebras",
)
def other_event(scene: Scene) -> None:
    context: Any = {"ti": TaskInstance()}
    deploy().execute_complete(context, {"status": "succeeded", "message": "", "endpoint_id": ENDPOINT})


# Checks of what serves


@provokes(
    exceptions.EndpointVerificationFailed,
    failed="was not as expected",
    resource=ENDPOINT,
    remedy="log_content=True",
)
def wrong_answer(scene: Scene) -> None:
    scene.service.new_deployment()
    run(verify(expect="5"))


@provokes(
    exceptions.EndpointVerificationFailed,
    failed=f"does not serve model version {V2}",
    resource=ENDPOINT,
    remedy="give it as model_version",
)
def other_version_serves(scene: Scene) -> None:
    scene.service.new_deployment()
    run(verify(model_version=V2))


@provokes(
    exceptions.VerificationNotDone,
    failed="could not be verified",
    resource=ENDPOINT,
    words=WORDS,
    remedy="A retry asks again; if none is left, clear the task",
)
def endpoint_that_is_busy(scene: Scene) -> None:
    scene.service.new_deployment()
    scene.refuse("chat_completion", 429)
    run(verify())


@provokes(
    exceptions.EvaluationFailed,
    failed="is not good enough",
    resource=ENDPOINT,
    remedy="With results_uri, a report shows each case that failed",
)
def weak_model(scene: Scene) -> None:
    scene.service.new_deployment()
    run(evaluate())


@provokes(
    exceptions.EvaluationFailed,
    failed="is not evaluated",
    resource=ENDPOINT,
    remedy="clear the task when the version that it is to evaluate serves",
)
def evaluation_of_what_does_not_serve(scene: Scene) -> None:
    scene.service.new_deployment()
    run(evaluate(model_version=V2))


# Releases


@provokes(
    exceptions.ReleaseFailed,
    failed="failed in upload",
    resource=ENDPOINT,
    words=WORDS,
    remedy="fix the cause and clear upload with the tasks after it",
)
def failed_release(scene: Scene) -> None:
    scene.refuse("upload_model_version", 400)
    run_dag: DagRunner = scene.fixture("run_dag")
    new_dag: Callable[..., DAG] = scene.fixture("new_dag")
    with new_dag() as dag:
        cerebras_release(group_id="release", model_arch_id=ARCH, weight_uri=URI, endpoint_id=ENDPOINT, alias="prod")
    raise run_dag(dag).error("release.conclude")


@provokes(
    exceptions.RecordExists,
    failed="is not the record of this release, so it is not replaced",
    resource="0.json",
    remedy="Move it away and clear this task",
)
def other_record(scene: Scene) -> None:
    record = Record(ReleaseOutcome.RELEASED, ENDPOINT, "dag", "run", "release", 0, ())
    path = record_path(str(scene.folder), record)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"outcome": "released"}))
    store_record(str(scene.folder), record)


# Requests


@provokes(
    exceptions.RequestRefused,
    failed="answered 403",
    resource=f"/endpoints/{ENDPOINT}",
    words=WORDS,
    remedy="org_name",
)
def refused_task(scene: Scene) -> None:
    scene.refuse("get_endpoint", 403)
    run(deploy())


@provokes(
    errors.BadRequest,
    failed="answered 400",
    resource="models:upload",
    words=WORDS,
    remedy="change what the service objects to",
)
def refused_upload(scene: Scene) -> None:
    scene.refuse("upload_model_version", 400)
    CerebrasHook().upload_model_version(ARCH, URI)


@provokes(
    errors.Unauthorized,
    failed="answered 401",
    resource=ENDPOINT,
    words=WORDS,
    remedy="field password of connection 'cerebras_default'",
)
def unknown_key(scene: Scene) -> None:
    scene.refuse("get_endpoint", 401)
    CerebrasHook().get_endpoint(ENDPOINT)


@provokes(
    errors.Forbidden,
    failed="answered 403",
    resource=ENDPOINT,
    words=WORDS,
    remedy="Check that the key in field password",
)
def forbidden(scene: Scene) -> None:
    scene.refuse("get_endpoint", 403)
    CerebrasHook().get_endpoint(ENDPOINT)


@provokes(
    errors.NotFound,
    failed="answered 404",
    resource=ENDPOINT,
    words=WORDS,
    remedy="Compare the name",
)
def unknown_endpoint(scene: Scene) -> None:
    scene.refuse("get_endpoint", 404)
    CerebrasHook().get_endpoint(ENDPOINT)


@provokes(
    errors.Conflict,
    failed="answered 409",
    resource=V1,
    words=WORDS,
    remedy="Look what else has the alias",
)
def conflict(scene: Scene) -> None:
    scene.refuse("update_model_version_aliases", 409)
    CerebrasHook().update_model_version_aliases(V1, ["prod"])


@provokes(
    errors.RateLimited,
    failed="answered 429",
    resource=ENDPOINT,
    words=WORDS,
    remedy="Try again later",
)
def too_many_requests(scene: Scene) -> None:
    scene.refuse("get_endpoint", 429)
    CerebrasHook().get_endpoint(ENDPOINT)


@provokes(
    errors.ServerError,
    failed="answered 503",
    resource=ENDPOINT,
    words=WORDS,
    remedy="tell Cerebras the id of the request",
)
def broken_service(scene: Scene) -> None:
    scene.refuse("get_endpoint", 503)
    CerebrasHook().get_endpoint(ENDPOINT)


@provokes(
    errors.CerebrasTransportError,
    failed="got no response",
    resource=ENDPOINT,
    words="Connection refused",
    remedy="Check that the address",
)
def no_service(scene: Scene) -> None:
    with CerebrasClient(ClientSettings(management_key="key", base_url="http://127.0.0.1:1", max_retries=0)) as client:
        client.send(operations.get_endpoint(ENDPOINT))


@provokes(
    errors.CerebrasTransportError,
    failed="got no response",
    resource=ENDPOINT,
    words="Server disconnected",
    remedy="look at the network and its proxy, or raise request_timeout of the connection",
)
def broken_connection(scene: Scene) -> None:
    scene.spoil("get_endpoint", drop=True)
    CerebrasHook().get_endpoint(ENDPOINT)


@provokes(
    errors.OutcomeUnknown,
    failed="It is not known whether",
    resource=f"/endpoints/{ENDPOINT}:deployModel",
    words=WORDS,
    remedy="Look whether it was done before you send it again",
)
def unknown_outcome(scene: Scene) -> None:
    scene.refuse("deploy_model", 503)
    CerebrasHook().deploy_model(ENDPOINT, V1)


@provokes(
    errors.UnexpectedResponse,
    failed="redirects are not followed",
    resource=ENDPOINT,
    words="answered 302",
    remedy="check the base URL",
)
def redirect(scene: Scene) -> None:
    scene.refuse("get_endpoint", 302)
    CerebrasHook().get_endpoint(ENDPOINT)


@provokes(
    errors.UnexpectedResponse,
    failed="is not as documented",
    resource=ENDPOINT,
    words="name: Field required",
    remedy="check the base URL",
)
def other_response(scene: Scene) -> None:
    scene.spoil("get_endpoint", body={"hello": "world"})
    CerebrasHook().get_endpoint(ENDPOINT)


@provokes(
    records.RecordsUnreadable,
    failed="cannot be read",
    resource="--records",
    words="Is a directory",
    remedy="Give the folder",
)
def unreadable_records(scene: Scene) -> None:
    (scene.folder / "old.json").mkdir()
    records.read_records(str(scene.folder), ENDPOINT)


if AIRFLOW_V_3_1_PLUS:
    from airflow_provider_cerebras.operators._approval import ApproveRelease, NotAnswered

    @provokes(
        NotAnswered,
        failed="was not answered in time",
        resource=f"{V1} for endpoint {ENDPOINT}",
        remedy="Clear the task to ask again",
    )
    def late_approval(scene: Scene) -> None:
        task = ApproveRelease(task_id="task", subject="Deploy?", endpoint_id=ENDPOINT, model_version=V1)
        context: Any = {"ti": TaskInstance()}
        task.execute_complete(context, {"error_type": "timeout"})


def test_each_class_is_provoked() -> None:
    left = public_errors() - {case.error for case in CASES.values()}
    assert {error.__name__ for error in left} == set(INSIDE)


@cache
def listed() -> dict[str, set[str]]:
    """The texts of each error in the documentation's list of messages, as patterns."""
    found = messages.texts_of_errors(read_code())
    return {name: {".*".join(map(re.escape, FILLED_IN.split(text))) for text in texts} for name, texts in found.items()}


@pytest.mark.parametrize("case", CASES)
def test_its_message_has_what_a_reader_needs(case: str, scene: Scene) -> None:
    expected = CASES[case]
    with pytest.raises(expected.error) as caught:
        expected.provoke(scene)
    assert type(caught.value) is expected.error
    assert PACKAGE in Path(caught.traceback[-1].path).parents  # no test has made it
    message = str(caught.value)
    parts = {
        "failed": expected.failed,
        "resource": expected.resource,
        "remedy": expected.remedy,
        "words": expected.words,
    }
    assert {part: words for part, words in parts.items() if words is not None and words not in message} == {}
    if expected.error not in REPEAT_OTHERS:
        name = "InvalidArgument" if expected.error is names.InvalidValue else expected.error.__name__
        name = "ConnectionUnusable" if expected.error is settings.EnvironmentUnusable else name
        assert [text for text in listed()[name] if re.match(text, message)] != []
