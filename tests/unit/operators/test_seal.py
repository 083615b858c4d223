"""What is under the prefix is the same before the upload and after its sync, or the version is not returned."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException, TaskDeferred

from airflow_provider_cerebras.api.client import CerebrasClient
from airflow_provider_cerebras.api.errors import UnexpectedResponse
from airflow_provider_cerebras.exceptions import InvalidArgument, ModelVersionFailed, WeightsChanged
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators.model_versions import CerebrasUploadModelVersionOperator
from airflow_provider_cerebras.sensors.model_versions import CerebrasModelVersionSensor
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS
from airflow_provider_cerebras.weights import WeightsNotFound, WeightsUnreadable, weights_digest
from tests.s3 import aws_connection, empty_bucket, put, s3_service
from tests.task_instance import TaskInstance
from tests.unit.durable.world import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client

    from tests.unit.conftest import Service

ARCH, URI = "gpt-oss-120b", "s3://models/run-1"
V1 = f"orgs/my-org/models/{ARCH}/versions/1"
FILES = {"config.json": b"{}", "model.safetensors": b"trained"}
# Airflow 3.0 fails a task that pushes None.
TAKEN_BACK = "" if AIRFLOW_V_3_0_PLUS and not AIRFLOW_V_3_1_PLUS else None
SOME_DIGEST = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with s3_service() as url:
        yield url


@pytest.fixture
def s3(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> S3Client:
    """An S3 in which the weights are; it is Airflow's connection ``store``."""
    monkeypatch.setenv("AIRFLOW_CONN_STORE", aws_connection(s3_url))
    s3 = empty_bucket(s3_url, "models")
    assert put(s3, "models", "run-1", FILES) == URI
    return s3


def overwrite(s3: S3Client) -> None:
    put(s3, "models", "run-1", {"model.safetensors": b"others", "extra.txt": b"new"})
    s3.delete_object(Bucket="models", Key="run-1/config.json")


def upload(**changes: Any) -> CerebrasUploadModelVersionOperator:
    arguments = {"model_arch_id": ARCH, "weight_uri": URI, "aws_conn_id": "store", **changes}
    return CerebrasUploadModelVersionOperator(task_id="task", retries=2, **arguments)


def sensor(**changes: Any) -> CerebrasModelVersionSensor:
    arguments = {"model_version": V1, "aws_conn_id": "store", **changes}
    return CerebrasModelVersionSensor(task_id="task", poke_interval=0.01, **arguments)


def context(attempt: int = 1) -> Any:
    return {"ti": TaskInstance(try_number=attempt, max_tries=2)}


def defer(operator: Any, context: Any) -> Any:
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    return deferred.value.trigger


def event_of(trigger: Any) -> Any:
    """What a trigger sends after a triggerer has stored it and built it anew."""
    _, kwargs = trigger.serialize()

    async def first() -> Any:
        async for event in type(trigger)(**kwargs).run():
            return event.payload

    return asyncio.run(first())


class TestBeforeTheUpload:
    @pytest.mark.parametrize("operator", [upload, sensor])
    def test_a_digest_without_a_connection_is_refused(self, service: Service, operator: Callable[..., Any]) -> None:
        with pytest.raises(InvalidArgument, match=r"^weights_digest: needs aws_conn_id"):
            operator(weights_digest=SOME_DIGEST, aws_conn_id=None).execute(context())
        assert service.requests() == []

    @pytest.mark.parametrize("more", [{"aws_conn_id": None}, {"delete_on_kill": True}])
    def test_skip_unchanged_needs_a_connection_and_excludes_a_deletion(
        self, service: Service, more: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidArgument, match=r"^skip_unchanged: "):
            upload(skip_unchanged=True, **more).execute(context())
        assert service.requests() == []

    def test_other_weights_are_not_uploaded(self, service: Service, s3: S3Client) -> None:
        digest = weights_digest(URI, "store")
        overwrite(s3)
        now = weights_digest(URI, "store")
        with pytest.raises(WeightsChanged, match=f"{digest}: theirs is {now}. Nothing was uploaded"):
            upload(weights_digest=digest).execute(context())
        assert service.requests() == []

    @pytest.mark.parametrize(
        ("uri", "error"), [("s3://models/run", WeightsNotFound), ("s3://missing/run", WeightsUnreadable)]
    )
    def test_what_is_not_there_is_not_uploaded(
        self, service: Service, s3: S3Client, uri: str, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            upload(weight_uri=uri).execute(context())
        assert service.requests() == []

    def test_the_weights_that_were_meant_are_uploaded_once_and_others_are_not_adopted(
        self, service: Service, s3: S3Client
    ) -> None:
        digest = weights_digest(URI, "store")
        assert upload(weights_digest=digest).execute(context()) == V1
        assert upload().execute(context(attempt=2)) == V1
        overwrite(s3)
        assert upload().execute(context(attempt=3)) == V1.replace("/1", "/2")


class _Overwritten(CerebrasHook):
    """Reaches a service that says that the sync has ended as soon as the weights were overwritten."""

    overwrite: Callable[[], None]

    def get_conn(self) -> CerebrasClient:
        return CerebrasClient(super().get_conn().settings, transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        done = request.url.path.endswith("/versions/1")
        if request.method == "GET" and not done:
            return httpx.Response(404, json={"detail": "not found"})
        if done:
            type(self).overwrite()
        response = {"customer_s3_uri": URI, "sync_status": "done" if done else "queued"}
        return httpx.Response(200, json={"name": V1, "done": done, "response": response})


class TestAfterTheSync:
    def test_on_the_worker_it_names_what_differs(self, service: Service, s3: S3Client) -> None:
        hook = type("Hook", (_Overwritten,), {"overwrite": staticmethod(lambda: overwrite(s3))})
        waiting = {"wait_for_completion": True, "deferrable": False, "poll_interval": 0.01}
        with pytest.raises(
            WeightsChanged,
            match="replaced: model.safetensors; added: extra.txt; removed: config.json. The service read them in "
            f"between, so model version {V1} may hold a mixture of both.",
        ):
            upload(hook_class=hook, **waiting).execute(context())

    def test_the_digest_survives_a_deferral(self, service: Service, s3: S3Client) -> None:
        waiting = {"wait_for_completion": True, "deferrable": True}
        task = context()
        trigger = defer(upload(**waiting), task)
        assert task["ti"].xcoms == {"return_value": V1}
        service.finish()
        event = event_of(trigger)
        assert upload(**waiting).execute_complete(task, event) == V1
        overwrite(s3)
        with pytest.raises(WeightsChanged, match=r"Last written there: \S+ \(20.*may hold a mixture"):
            upload(**waiting).execute_complete(task, event)
        # A task that fails after its deferral leaves nothing for what comes after it.
        assert task["ti"].xcoms == {"return_value": TAKEN_BACK}

    def test_everything_is_gone(self, service: Service, s3: S3Client) -> None:
        trigger = defer(upload(wait_for_completion=True, deferrable=True), context())
        for key in FILES:
            s3.delete_object(Bucket="models", Key=f"run-1/{key}")
        service.finish()
        with pytest.raises(WeightsChanged, match="before the upload: nothing is there"):
            upload(wait_for_completion=True, deferrable=True).execute_complete(context(), event_of(trigger))

    def test_a_wait_that_began_without_a_listing_ends_as_before(
        self, service: Service, s3: S3Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trigger = defer(upload(wait_for_completion=True, deferrable=True, aws_conn_id=None), context())
        assert "weights_digest" not in trigger.serialize()[1]
        service.finish()
        later, journal = upload(wait_for_completion=True, deferrable=True), Journal()
        monkeypatch.setattr(type(later), "log", journal, raising=False)
        assert later.execute_complete(context(), event_of(trigger)) == V1
        assert "not compared" in journal.text


class TestUnchanged:
    def test_another_dag_adopts_the_same_weights_until_they_may_be_a_mixture(
        self, service: Service, s3: S3Client
    ) -> None:
        arguments: dict[str, Any] = {"skip_unchanged": True, "wait_for_completion": True, "deferrable": True}
        trigger = defer(upload(**arguments), context())
        service.finish()
        other: Any = {"ti": TaskInstance(dag_id="other")}
        digest = weights_digest(URI, "store")
        assert upload(skip_unchanged=True).execute(other) == V1
        overwrite(s3)
        with pytest.raises(WeightsChanged):
            upload(**arguments).execute_complete(context(), event_of(trigger))
        # They are as before again, but the version has perhaps something else in it.
        s3.delete_object(Bucket="models", Key="run-1/extra.txt")
        put(s3, "models", "run-1", FILES)
        assert weights_digest(URI, "store") == digest
        assert upload(skip_unchanged=True).execute(other) == V1.replace("/1", "/2")

    def test_what_another_dag_still_syncs_is_waited_for_and_not_returned(self, service: Service, s3: S3Client) -> None:
        assert upload(skip_unchanged=True).execute(context()) == V1
        other: Any = {"ti": TaskInstance(dag_id="other")}
        trigger = defer(upload(skip_unchanged=True, deferrable=True), other)
        assert trigger.model_version == V1
        service.finish()
        operator = upload(skip_unchanged=True, deferrable=True)
        assert operator.execute_complete(other, event_of(trigger)) == V1
        assert len(service.versions()) == 1

    def test_what_another_dag_failed_to_sync_meanwhile_is_not_returned(self, service: Service, s3: S3Client) -> None:
        service.add_fault("upload_model_version", fail_sync="weights are broken")
        upload(skip_unchanged=True).execute(context())
        other: Any = {"ti": TaskInstance(dag_id="other")}
        trigger = defer(upload(skip_unchanged=True, deferrable=True), other)
        service.finish()
        with pytest.raises(ModelVersionFailed, match="weights are broken"):
            upload(skip_unchanged=True, deferrable=True).execute_complete(other, event_of(trigger))

    def test_a_retry_does_not_wait_for_what_its_own_task_has_uploaded(self, service: Service, s3: S3Client) -> None:
        upload(skip_unchanged=True).execute(context())
        assert upload(skip_unchanged=True).execute(context(attempt=2)) == V1

    def test_a_sensor_that_sees_a_change_takes_the_alias_off(self, service: Service, s3: S3Client) -> None:
        digest = weights_digest(URI, "store")
        upload(skip_unchanged=True).execute(context())
        service.finish()
        overwrite(s3)
        with pytest.raises(WeightsChanged):
            sensor(weights_digest=digest).execute(context())
        (version,) = service.versions().values()
        assert not [alias for alias in version.aliases if alias.startswith("weights-")]


class TestSensor:
    @pytest.fixture
    def digest(self, service: Service, s3: S3Client) -> str:
        """Digest of the weights of a version that is synced."""
        upload().execute(context())
        service.finish()
        return weights_digest(URI, "store")

    @pytest.mark.parametrize("deferrable", [True, False])
    def test_it_compares_them(self, s3: S3Client, digest: str, deferrable: bool) -> None:
        assert sensor(deferrable=deferrable, weights_digest=digest).execute(context()) == V1
        overwrite(s3)
        with pytest.raises(WeightsChanged, match="may hold a mixture"):
            sensor(deferrable=deferrable, weights_digest=digest).execute(context())
        with pytest.raises(AirflowSkipException, match="may hold a mixture"):
            sensor(deferrable=deferrable, weights_digest=digest, soft_fail=True).execute(context())

    def test_it_compares_them_after_a_deferral(self, service: Service, s3: S3Client) -> None:
        upload().execute(context())
        task, digest = context(), weights_digest(URI, "store")
        trigger = defer(sensor(deferrable=True, weights_digest=digest), task)
        service.finish()
        event = event_of(trigger)
        assert sensor(deferrable=True, weights_digest=digest).execute_complete(task, event) == V1
        overwrite(s3)
        with pytest.raises(WeightsChanged, match="may hold a mixture"):
            sensor(deferrable=True, weights_digest=digest).execute_complete(task, event)
        assert task["ti"].xcoms == {"return_value": TAKEN_BACK}

    def test_a_service_that_does_not_say_where_they_are_ends_in_an_error(self, service: Service, s3: S3Client) -> None:
        class Silent(CerebrasHook):
            def get_conn(self) -> CerebrasClient:
                answer = {"name": V1, "done": True, "response": {"sync_status": "done"}}
                transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
                return CerebrasClient(super().get_conn().settings, transport=transport)

        with pytest.raises(UnexpectedResponse, match="does not say where its weights are"):
            sensor(hook_class=Silent, weights_digest=SOME_DIGEST).execute(context())
