"""Two releases and a person on one endpoint, in every order of deploying, failing, dying, retrying and rolling back.

Whatever the service lists and however it treats a second rollout: a retry and a rollback put nothing over what another
client has deployed since. Left out is what cannot be seen: a deployment that is queued without being listed, and one
that arrives between the last response and the submission.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field

import httpx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from airflow_provider_cerebras.api.errors import CerebrasError
from airflow_provider_cerebras.durable.deployments import Deploy
from airflow_provider_cerebras.durable.identity import Identity
from airflow_provider_cerebras.durable.rollbacks import Rollback
from airflow_provider_cerebras.durable.rollout_steps import Submission
from airflow_provider_cerebras.emulator.api.operations import OperationName, operation_of
from airflow_provider_cerebras.exceptions import DeploymentLost, NothingToRollBackTo, RollbackRefused
from tests.unit.durable.world import URI, Attempt, Mishap, Network, Service, Store, memory_of, name

ROLLOUT = 100.0
DEPLOY = OperationName.DEPLOY_MODEL
REFUSALS = (CerebrasError, DeploymentLost, RollbackRefused, NothingToRollBackTo)
HABITS = st.sampled_from(
    [
        *[(listed, second) for listed in ("all", "not-failed") for second in ("queue", "supersede", "refuse")],
        ("live", "supersede"),
    ]
)
KILLS = st.sampled_from([None, "sent", "answered"])


class Killed(BaseException):
    """The process of an attempt is gone. No code of ours may hold it up."""


@dataclass
class Release:
    """A task run that deploys, and the one that takes it back.

    :ivar started: when its DAG run began.
    :ivar began: how many deployments there had been when its first attempt began.
    :ivar submitted: what it knows of its deployment.
    """

    name: str
    version: int
    is_kept: bool
    started: float = 0
    began: int = 0
    attempts: int = 0
    rollbacks: int = 0
    stores: tuple[Store, Store] = field(default_factory=lambda: (Store(), Store()))
    submitted: Submission | None = None

    def store(self, number: int) -> Store | None:
        return self.stores[number] if self.is_kept else None


@dataclass
class Watched(Network):
    """The way to the service, on which nothing may pass that harms another release."""

    machine: Releases | None = None
    owner: str = ""
    since: int | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        assert self.machine is not None
        if operation_of(request.method, request.url.path) is not DEPLOY:
            return super().handle_request(request)
        self.machine.check(self.owner, self.since)
        try:
            return super().handle_request(request)
        finally:
            self.machine.note(self.owner)


class Releases(RuleBasedStateMachine):
    """No task deploys over another client's deployment, but by a decision of a person: a first attempt."""

    @initialize(habits=HABITS, kept=st.tuples(st.booleans(), st.booleans()))
    def begin(self, habits: tuple[str, str], kept: tuple[bool, bool]) -> None:
        listed, second = habits
        self.service = Service(
            sync_seconds=0, rollout_seconds=ROLLOUT, deployed_models=listed, deploy_during_rollout=second
        )
        for _ in range(4):
            self.service.upload(URI)
        self.history: list[tuple[str, str]] = []
        """Who has made each deployment, and which one; oldest first."""
        self.by_person(1)
        self.service.now += ROLLOUT + 1
        self.releases = [Release("A", 2, kept[0]), Release("B", 3, kept[1])]
        for release in self.releases:
            self.start(release)

    def teardown(self) -> None:
        if hasattr(self, "service"):
            self.service.close()

    @rule(data=st.data())
    def run_anew(self, data: st.DataObject) -> None:
        """A new run of a DAG, or a clear."""
        self.start(data.draw(st.sampled_from(self.releases)))

    @rule(data=st.data(), kill=KILLS, fail=st.booleans())
    def deploy(self, data: st.DataObject, kill: str | None, fail: bool) -> None:
        """The next attempt of a task that deploys."""
        release = data.draw(st.sampled_from(self.releases))
        is_first = release.attempts == 0
        release.attempts += 1
        if is_first:
            release.began = len(self.history)
        attempt = self.attempt(release, kill, since=None if is_first else release.began)
        if fail:
            self.service.api_control("/faults", {"operation": "deploy_model", "fail_rollout": "out of memory"})
        try:
            with closing(attempt.client()) as client:
                release.submitted = Deploy(
                    attempt.rollout(client),
                    name(release.version),
                    durable=True,
                    task_state=memory_of(release.store(0), "deploy", "deploy"),
                    run_started=None if is_first else release.started,
                ).run()
        except (*REFUSALS, Killed):
            pass
        self.end_faults()

    @precondition(lambda self: any(release.submitted for release in self.releases))
    @rule(data=st.data(), kill=KILLS, fail=st.booleans(), knows_more=st.booleans())
    def roll_back(self, data: st.DataObject, kill: str | None, fail: bool, knows_more: bool) -> None:
        """The next attempt of a task that takes the deployment of a release back."""
        release = data.draw(st.sampled_from([each for each in self.releases if each.submitted]))
        submitted = release.submitted
        assert submitted is not None
        ids = [deployment_id for _, deployment_id in self.history]
        since = ids.index(submitted.deployment_id)
        before = {model for _, model in self.service.deployments()}
        is_first = release.rollbacks == 0
        release.rollbacks += 1
        attempt = self.attempt(release, kill, since=since)
        if fail:
            self.service.api_control("/faults", {"operation": "deploy_model", "fail_rollout": "out of memory"})
        try:
            with closing(attempt.client()) as client:
                done = Rollback(
                    attempt.rollout(client),
                    taken_back=submitted if knows_more else Submission(submitted.deployment_id),
                    task_state=memory_of(release.store(1), "roll_back", "roll_back"),
                    identity=Identity(f"{release.version}" * 40, 0, release.rollbacks),
                    run_started=None if is_first else release.started,
                ).run()
            assert done.model_version in before | {submitted.served_before}
        except (*REFUSALS, Killed):
            pass
        self.end_faults()

    @rule(version=st.sampled_from([1, 4]))
    def by_person(self, version: int) -> None:
        """A person deploys something else by hand."""
        try:
            made = self.service.deploy(name(version))
        except AssertionError:  # the service refuses it during a rollout
            return
        self.history.append(("a person", made))

    @rule(seconds=st.sampled_from([1, ROLLOUT]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.service.now += seconds

    # How it is done.

    def start(self, release: Release) -> None:
        release.started = self.service.now
        release.attempts = release.rollbacks = 0
        release.stores, release.submitted = (Store(), Store()), None

    def attempt(self, release: Release, kill: str | None, *, since: int | None) -> Attempt:
        mishaps = [Mishap(DEPLOY, Killed(), worked=kill == "answered")] if kill else []
        attempt = Attempt(self.service, mishaps)
        attempt.network = Watched(self.service, attempt.mishaps, machine=self, owner=release.name, since=since)
        return attempt

    def end_faults(self) -> None:
        self.service.answer(httpx.Request("DELETE", "http://127.0.0.1/_emulator/faults"))

    def check(self, owner: str, since: int | None) -> None:
        """What is deployed next goes over nothing of another client's that came since."""
        if since is None:
            return
        listed = {deployment_id for deployment_id, _ in self.service.deployments()}
        harmed = [each for each in self.history[since:] if each[0] != owner and each[1] in listed]
        assert not harmed, f"{owner} deploys over {harmed}"

    def note(self, owner: str) -> None:
        known = {deployment_id for _, deployment_id in self.history}
        self.history += [(owner, made) for made in self.service.all_deployments() if made not in known]


TestReleases = Releases.TestCase
TestReleases.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
