"""What a task's log says of an upload, a promotion, a rollout and a rollback: each line, and the pauses in between."""

from __future__ import annotations

import re
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_cerebras.durable.aliases import AliasChange, change_aliases, promote
from airflow_provider_cerebras.durable.identity import weights_alias
from airflow_provider_cerebras.durable.rollbacks import Rollback
from airflow_provider_cerebras.emulator.api.operations import OperationName
from airflow_provider_cerebras.exceptions import AliasInUse, DeploymentLost, NothingToRollBackTo
from tests.unit.durable.world import (
    BASE,
    CLEARED,
    FIRST,
    RETRY,
    STRANGER,
    URI,
    Attempt,
    Mishap,
    Service,
    Store,
    broken,
    memory_of,
    name,
    request,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.durable.identity import Identity

UPLOAD, DEPLOY = OperationName.UPLOAD_MODEL_VERSION, OperationName.DEPLOY_MODEL
PATCH = OperationName.UPDATE_MODEL_VERSION_ALIASES
SAME = weights_alias("0123456789abcdef" * 4, None)
ON_ENDPOINT = "endpoint my-org-gpt-oss-120b"
UNKNOWN_UPLOAD = "It is not known whether POST /orgs/my-org/models:upload was acted on"
NOT_SENT_AGAIN = "Sent once more without a look, it could be done twice."
MINE = "airflow-BASE-0"


def plain(text: str) -> str:
    """A text with short names: v1 for a version, and ID for a deployment."""
    for long, short in (
        (name(""), "v"), (BASE, "BASE"), (SAME, "SAME"), ("http://127.0.0.1/management/v1", ""),
    ):  # fmt: skip
        text = text.replace(long, short)
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text)


def said(attempt: Attempt) -> list[str]:
    return [plain(line) for line in attempt.journal.lines]


def taken(status: int, detail: str, times: int) -> Mishap:
    return Mishap(UPLOAD, httpx.Response(status, json={"detail": detail}), worked=False, times=times)


class TestUpload:
    def upload(self, service: Service, *mishaps: Mishap, store: Store | None = None, **changes: Any) -> Attempt:
        attempt = Attempt(service, list(mishaps), store)
        identity, aliases = changes.pop("identity", FIRST), changes.pop("aliases", ())
        attempt.upload(request(identity, *aliases, **changes))
        return attempt

    def test_a_first_attempt(self, service: Service) -> None:
        assert said(self.upload(service, aliases=["latest"])) == [f"Uploaded {URI} as model version v1."]

    def test_a_retry(self, service: Service) -> None:
        self.upload(service)
        assert said(self.upload(service, identity=RETRY)) == [
            (
                f"Model version v1 belongs to this task run: it carries the alias {MINE} (sync_status 'queued'). "
                "An earlier attempt made it."
            ),
            "Adopted model version v1; nothing was uploaded again.",
        ]

    def test_a_retry_that_knows_the_version_from_its_note_alone(self, service: Service) -> None:
        store = Store()
        self.upload(service, store=store)
        service.set_aliases(name(1))
        assert said(self.upload(service, store=store, identity=RETRY)) == [
            (
                "Model version v1 belongs to this task run: the task state store names it (sync_status 'queued'). "
                "An earlier attempt made it."
            ),
            f"Changing the aliases of model version v1: it lacked {MINE}.",
            f"Model version v1 was given the aliases {MINE}.",
            "Adopted model version v1; nothing was uploaded again.",
        ]

    def test_a_retry_of_what_failed(self, service: Service) -> None:
        service.api_control("/faults", {"operation": "upload_model_version", "fail_sync": "weights are broken"})
        self.upload(service, aliases=["latest"])
        service.now += 100
        service.set_aliases(name(1), FIRST.alias, "latest")
        assert said(self.upload(service, identity=RETRY, aliases=["latest"])) == [
            (
                f"Model version v1 belongs to this task run: it carries the alias {MINE} "
                "(sync_status 'failed', error 'weights are broken'). An earlier attempt made it."
            ),
            "Changing the aliases of model version v1: it failed to sync and makes room for another.",
            "Model version v1 was given the aliases none.",
            f"Uploaded {URI} as model version v2.",
        ]

    def test_an_attempt_after_a_clear(self, service: Service) -> None:
        self.upload(service, aliases=["latest"])
        attempt = self.upload(service, identity=CLEARED, aliases=["latest"])
        assert said(attempt) == [
            "Changing the aliases of model version v1: alias 'latest' goes to what replaces it in the same task run.",
            f"Model version v1 was given the aliases {MINE}.",
            f"Uploaded {URI} as model version v2.",
        ]
        assert attempt.pauses == [1]

    def test_a_run_whose_id_another_run_had(self, service: Service) -> None:
        self.upload(service)
        assert said(self.upload(service, begins=True)) == [
            "Changing the aliases of model version v1: a DAG run of the same id made it, which was deleted since.",
            f"Model version v1 was given the aliases {MINE}-0.",
            f"Uploaded {URI} as model version v2.",
        ]

    def test_an_unknown_outcome(self, service: Service) -> None:
        found = self.upload(service, Mishap(UPLOAD, broken("timeout")))
        assert said(found) == [
            f"{UNKNOWN_UPLOAD}: ReadTimeout: timed out. {NOT_SENT_AGAIN} Checking the service.",
            "Adopted model version v1; nothing was uploaded again.",
        ]
        not_found = self.upload(service, *[Mishap(UPLOAD, broken("503"), worked=False, times=5)], identity=STRANGER)
        assert said(not_found) == [
            (
                f"{UNKNOWN_UPLOAD}: POST /orgs/my-org/models:upload answered 503: upstream. {NOT_SENT_AGAIN} "
                "Checking the service."
            )
        ] * 5 + [f"Uploaded {URI} as model version v2."]
        assert (found.pauses, not_found.pauses) == ([1], [1, 2, 4, 8, 16])

    def test_an_alias_that_is_said_to_be_taken(self, service: Service) -> None:
        attempt = self.upload(service, taken(409, "taken", times=6))
        assert said(attempt) == [
            (
                "POST /orgs/my-org/models:upload answered 409: taken. Perhaps the service does not show yet what an "
                "earlier request made."
            )
        ] * 6 + [f"Uploaded {URI} as model version v1."]
        assert attempt.pauses == [1, 2, 4, 8, 16, 16]

    def test_an_alias_that_another_version_has(self, service: Service) -> None:
        service.upload(URI, "latest")
        with pytest.raises(AliasInUse) as caught:
            self.upload(service, aliases=["latest"])
        assert plain(str(caught.value)) == (
            "Alias 'latest' is held by v1, and an alias belongs to one version only. Nothing was uploaded. To take it "
            "over, set move_aliases=True, or upload without it and move it later, for example when the version serves, "
            "with CerebrasPromoteModelVersionOperator."
        )
        assert said(self.upload(service, aliases=["latest"], move_aliases=True)) == [
            "Moving alias latest from v1 to v2.",
            "Model version v1 was given the aliases none.",
            f"Model version v2 was given the aliases {MINE}, latest.",
            f"Uploaded {URI} as model version v2.",
        ]

    def test_weights_that_are_there(self, service: Service) -> None:
        self.upload(service, weights_alias=SAME)
        assert said(self.upload(service, identity=STRANGER, aliases=["latest"], weights_alias=SAME)) == [
            "Changing the aliases of model version v1: it lacked latest.",
            f"Model version v1 was given the aliases {MINE}, SAME, latest.",
            (
                "The weights are unchanged: model version v1 carries the alias SAME of their digest (sync_status "
                "'queued')."
            ),
            "Adopted model version v1; nothing was uploaded again.",
        ]

    def test_weights_that_were_there_and_failed_to_sync(self, service: Service) -> None:
        service.api_control("/faults", {"operation": "upload_model_version", "fail_sync": "weights are broken"})
        self.upload(service, weights_alias=SAME)
        service.now += 100
        assert said(self.upload(service, identity=STRANGER, weights_alias=SAME)) == [
            "Changing the aliases of model version v1: it failed to sync and makes room for another.",
            f"Model version v1 was given the aliases {MINE}.",
            f"Uploaded {URI} as model version v2.",
        ]

    def test_an_alias_of_the_weights_that_the_service_refuses(self, service: Service) -> None:
        refused = f"answered 422: {SAME} is no alias."
        attempt = self.upload(service, taken(422, f"{SAME} is no alias", times=7), weights_alias=SAME)
        *waited, left_out, uploaded = said(attempt)
        lag = "Perhaps the service does not show yet what an earlier request made."
        assert waited == [f"POST /orgs/my-org/models:upload {plain(refused)} {lag}"] * 6
        assert left_out.startswith(
            "The alias SAME, by which unchanged weights are found, is left out: perhaps the service refuses it "
            f"(POST /orgs/my-org/models:upload {plain(refused)}"
        )
        assert left_out.endswith("). Uploading without it.")
        assert uploaded == f"Uploaded {URI} as model version v1."


class TestAliases:
    @pytest.fixture
    def service(self, new_service: Callable[..., Service]) -> Service:
        service = new_service()
        service.upload(URI, "prod", "blue")
        service.upload(URI, "green")
        return service

    def promote(self, service: Service, *mishaps: Mishap) -> Attempt:
        attempt = Attempt(service, list(mishaps))
        with closing(attempt.client()) as client:
            promote(client, name(2), "prod", log=attempt.journal, sleep=attempt.pass_time, clock=lambda: service.now)
        return attempt

    def change(self, service: Service, *mishaps: Mishap, **changes: Any) -> Attempt:
        attempt = Attempt(service, list(mishaps))
        with closing(attempt.client()) as client:
            change_aliases(
                client,
                name(2),
                AliasChange(**changes),
                log=attempt.journal,
                sleep=attempt.pass_time,
                clock=lambda: service.now,
            )
        return attempt

    def test_a_promotion(self, service: Service) -> None:
        slow = Mishap(PATCH, skip=1, meanwhile=partial(setattr, service, "now", service.now + 0.25))
        assert said(self.promote(service, slow)) == [
            "Model version v1 was given the aliases blue.",
            "Model version v2 was given the aliases green, prod.",
            "Moved alias prod from v1; no version had it for 0.250 s at the most.",
            "Model version v2 has the alias prod.",
        ]
        assert said(self.promote(service)) == ["Model version v2 has the alias prod."]

    def test_a_change(self, service: Service) -> None:
        assert said(self.change(service, add=("red",))) == [
            "Model version v2 was given the aliases green, red.",
            "Model version v2 has the aliases green, red.",
        ]
        assert said(self.change(service, replace=())) == [
            "Model version v2 was given the aliases none.",
            "Model version v2 has the aliases none.",
        ]


ROLLOUT = 200.0


class TestRollouts:
    @pytest.fixture
    def service(self, new_service: Callable[..., Service]) -> Service:
        """Two versions have served, the second one does, and a third one is there."""
        service = new_service(sync_seconds=0, rollout_seconds=ROLLOUT)
        for number in (1, 2):
            service.upload(URI)
            service.deploy(name(number))
            service.now += ROLLOUT
        service.upload(URI)
        return service

    def deploy(self, service: Service, *mishaps: Mishap, run_started: float | None = None) -> Attempt:
        attempt = Attempt(service, list(mishaps))
        attempt.deploy(name(3), run_started=run_started)
        return attempt

    def roll_back(self, service: Service, identity: Identity = FIRST, run_started: float | None = None) -> Attempt:
        attempt = Attempt(service)
        with closing(attempt.client()) as client:
            Rollback(
                attempt.rollout(client),
                taken_back=None,
                task_state=memory_of(None, "cerebras_rollback", identity.alias),
                identity=identity,
                run_started=run_started,
            ).run()
        return attempt

    def test_a_deployment_and_its_retries(self, service: Service) -> None:
        assert said(self.deploy(service)) == [f"Deployment ID rolls out model version v3 onto {ON_ENDPOINT}."]
        there = (
            f"Deployment ID of model version v3 onto {ON_ENDPOINT} is there already (state %r); nothing is submitted."
        )
        assert said(self.deploy(service)) == [there % "not_started"]
        service.now += ROLLOUT
        assert said(self.deploy(service)) == [there % "complete"]

    def test_an_unknown_outcome(self, service: Service) -> None:
        unknown = (
            "It is not known whether POST /endpoints/my-org-gpt-oss-120b:deployModel was acted on: ReadTimeout: timed "
            f"out. {NOT_SENT_AGAIN} Looking for it among the endpoint's deployments."
        )
        attempt = self.deploy(service, Mishap(DEPLOY, broken("timeout"), worked=False))
        assert said(attempt) == [unknown, f"Deployment ID rolls out model version v3 onto {ON_ENDPOINT}."]
        assert attempt.pauses == [2] * 15

    def test_an_unknown_outcome_that_was_acted_on(self, service: Service) -> None:
        attempt = self.deploy(service, Mishap(DEPLOY, broken("timeout")))
        assert said(attempt)[1:] == ["That submission has made deployment ID."]
        assert attempt.pauses == []

    def test_an_endpoint_that_another_client_has_taken(self, service: Service) -> None:
        began = service.now
        service.now += 5
        service.deploy(name(1))
        with pytest.raises(DeploymentLost) as caught:
            self.deploy(service, run_started=began)
        assert plain(str(caught.value)) == (
            f"Model version v3 is not submitted, because another client has deployed to {ON_ENDPOINT} since this task "
            "run began: deployment ID of model version v1 (state 'not_started'). Now v2 serves there. To deploy it all "
            "the same, clear the task."
        )

    def test_a_rollback_and_its_retry(self, service: Service) -> None:
        began = service.now
        assert said(self.roll_back(service)) == [f"Deployment ID rolls out model version v1 onto {ON_ENDPOINT}."]
        assert said(self.roll_back(service, RETRY, began)) == [
            "An earlier attempt has chosen model version v1 to roll back to.",
            "Deployment ID of model version v1 is there already.",
        ]

    def test_nothing_to_roll_back_to(self, new_service: Callable[..., Service]) -> None:
        with pytest.raises(NothingToRollBackTo) as caught:
            self.roll_back(new_service(sync_seconds=1))
        assert str(caught.value) == (
            "Endpoint my-org-gpt-oss-120b cannot be rolled back: no other model version served there before. Name the "
            "version to go back to: CerebrasRollbackEndpointOperator(to=...). Or deploy one."
        )
