from __future__ import annotations

import hashlib
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.emulator.service.errors import (
    AliasTaken,
    ForeignOrganization,
    NotDeployable,
    NotFound,
    NothingServes,
    RolloutUnderWay,
    VersionInUse,
)
from airflow_provider_cerebras.emulator.service.resources import Phase, Schedule, VersionRegistry
from airflow_provider_cerebras.emulator.service.service import Service
from airflow_provider_cerebras.emulator.service.weights import digest_of_uri
from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_provider_cerebras.emulator.service.resources import Deployment, ModelVersion

ORG, ARCH, OTHER_ARCH = "my-org", "gpt-oss-120b", "llama3.1-8b"
ENDPOINT, OTHER_ENDPOINT = "my-org-gpt-oss-120b", "my-org-llama3.1-8b"


class MakeService(Protocol):
    def __call__(self, read_weights: Callable[..., Future[str]] = ..., **settings: Any) -> Service: ...


@pytest.fixture
def make_service(clock: Callable[[], float]) -> MakeService:
    def make(read_weights: Callable[..., Future[str]] = digest_of_uri, **settings: Any) -> Service:
        chosen = Settings(**{"sync_seconds": 10, "rollout_seconds": 10, **settings})
        service = Service(chosen.behaviour, clock, read_weights)
        for organization in chosen.all_organizations():
            service.ensure_organization(organization)
        return service

    return make


@pytest.fixture
def service(make_service: MakeService) -> Service:
    return make_service()


def upload(service: Service, aliases: Sequence[str] = (), **more: Any) -> ModelVersion:
    return service.upload_model_version(ORG, ARCH, "s3://bucket/weights", aliases, "", **more)


@pytest.fixture
def synced(service: Service, advance: Callable[[float], None]) -> ModelVersion:
    version = upload(service, ["production"])
    advance(10)
    return version


def deploy(service: Service, version: ModelVersion, **more: Any) -> Deployment:
    return service.deploy_model(ENDPOINT, version.name, **more)


def test_version_numbers_count_up_from_one(service: Service) -> None:
    assert [upload(service).number for _ in range(3)] == [1, 2, 3]


def test_each_architecture_counts_its_own_versions(service: Service) -> None:
    upload(service)
    other = service.upload_model_version(ORG, OTHER_ARCH, "s3://bucket/weights", [], "")
    assert other.name == "orgs/my-org/models/llama3.1-8b/versions/1"


def test_the_number_of_a_deleted_version_is_not_used_again(service: Service) -> None:
    service.delete_model_version(ORG, ARCH, str(upload(service).number))
    assert upload(service).number == 2


def test_an_alias_stands_for_the_number(service: Service) -> None:
    version = upload(service, ["production"])
    assert service.model_version(ORG, ARCH, "production") is version
    assert service.model_version(ORG, ARCH, "1") is version


def test_an_alias_of_another_version_is_refused_at_upload_and_nothing_is_made(service: Service) -> None:
    upload(service, ["production"])
    with pytest.raises(AliasTaken, match=r"production is in use by model version .*/1;"):
        upload(service, ["new", "production"])
    assert len(service.model_versions(ORG, ARCH)) == 1
    assert upload(service, ["new"]).number == 2


def test_an_alias_of_another_version_is_refused_at_update_and_nothing_changes(service: Service) -> None:
    upload(service, ["production"])
    second = upload(service, ["staging"])
    with pytest.raises(AliasTaken):
        service.update_model_version_aliases(ORG, ARCH, "2", ["production"])
    assert second.aliases == ("staging",)


def test_an_alias_may_be_kept_by_the_version_that_has_it(service: Service) -> None:
    version = upload(service, ["production"])
    service.update_model_version_aliases(ORG, ARCH, "1", ["production", "latest"])
    assert version.aliases == ("production", "latest")


def test_an_update_replaces_the_whole_list_of_aliases(service: Service) -> None:
    version = upload(service, ["production", "latest"])
    service.update_model_version_aliases(ORG, ARCH, "production", ["staging"])
    assert version.aliases == ("staging",)


def test_an_alias_that_was_taken_off_is_free_for_another_version(service: Service) -> None:
    upload(service, ["production"])
    service.update_model_version_aliases(ORG, ARCH, "1", [])
    assert upload(service, ["production"]).aliases == ("production",)


def test_the_alias_of_a_deleted_version_is_free_again(service: Service) -> None:
    upload(service, ["production"])
    service.delete_model_version(ORG, ARCH, "production")
    assert upload(service, ["production"]).number == 2


def test_architectures_do_not_share_aliases(service: Service) -> None:
    upload(service, ["production"])
    other = service.upload_model_version(ORG, OTHER_ARCH, "s3://bucket/weights", ["production"], "")
    assert other.aliases == ("production",)


def test_an_alias_that_is_given_twice_is_kept_once(service: Service) -> None:
    assert upload(service, ["production", "production"]).aliases == ("production",)


@pytest.mark.parametrize("version_id", ["1", "production"])
def test_an_unknown_version_is_not_found(service: Service, version_id: str) -> None:
    with pytest.raises(NotFound, match=f"orgs/my-org/models/gpt-oss-120b/versions/{version_id} does not exist"):
        service.model_version(ORG, ARCH, version_id)


def test_an_unknown_architecture_is_not_found(service: Service) -> None:
    with pytest.raises(NotFound, match="no model architecture gpt-5"):
        service.model_versions(ORG, "gpt-5")


def test_another_organization_is_refused(service: Service) -> None:
    for call in (service.model_architectures, service.endpoints):
        with pytest.raises(ForeignOrganization, match="no access to organization other-org"):
            call("other-org")


def test_endpoints_follow_from_organization_and_architectures(make_service: MakeService) -> None:
    endpoints = make_service(org="acme").endpoints("acme")
    assert [(each.endpoint_id, each.model_arch_id) for each in endpoints] == [
        ("acme-gpt-oss-120b", "gpt-oss-120b"),
        ("acme-llama3.1-8b", "llama3.1-8b"),
    ]


def test_a_sync_is_queued_then_in_progress_then_done(
    service: Service, clock: Callable[[], float], advance: Callable[[float], None]
) -> None:
    version = upload(service)
    phases = [version.phase(clock())]
    for seconds in (2, 7.5, 0.5):
        advance(seconds)
        phases.append(version.phase(clock()))
    assert phases == [Phase.WAITING, Phase.RUNNING, Phase.RUNNING, Phase.SUCCEEDED]


def test_a_sync_of_no_time_is_done_at_once(make_service: MakeService, clock: Callable[[], float]) -> None:
    assert upload(make_service(sync_seconds=0)).phase(clock()) is Phase.SUCCEEDED


def test_a_sync_is_not_done_before_the_weights_have_been_read(
    make_service: MakeService, clock: Callable[[], float], advance: Callable[[float], None]
) -> None:
    weights: Future[str] = Future()
    version = upload(make_service(lambda *_: weights))
    advance(1000)
    assert version.phase(clock()) is Phase.RUNNING
    weights.set_result("0" * 64)
    assert version.phase(clock()) is Phase.SUCCEEDED


def test_a_sync_fails_when_the_weights_cannot_be_read(
    make_service: MakeService, clock: Callable[[], float], advance: Callable[[float], None]
) -> None:
    weights: Future[str] = Future()
    weights.set_exception(OSError("no such bucket"))
    version = upload(make_service(lambda *_: weights))
    advance(10)
    assert version.phase(clock()) is Phase.FAILED
    assert version.failure() == "no such bucket"


def test_a_sync_fails_when_that_was_planned(
    service: Service, clock: Callable[[], float], advance: Callable[[float], None]
) -> None:
    version = upload(service, planned_failure="bucket policy")
    assert version.phase(clock()) is Phase.WAITING
    advance(10)
    assert version.phase(clock()) is Phase.FAILED


@given(
    start=st.floats(0, 1e10),
    duration=st.floats(0, 1e6),
    moments=st.lists(st.floats(0, 2e10), min_size=2),
)
def test_what_has_a_schedule_never_goes_back(start: float, duration: float, moments: list[float]) -> None:
    schedule = Schedule.of(start, duration)
    order = [Phase.WAITING, Phase.RUNNING, Phase.SUCCEEDED]
    ranks = [order.index(schedule.phase(now, Phase.SUCCEEDED)) for now in sorted(moments)]
    assert ranks == sorted(ranks)


def test_a_deployment_rolls_out_and_then_serves(
    service: Service, synced: ModelVersion, clock: Callable[[], float], advance: Callable[[float], None]
) -> None:
    deployment = deploy(service, synced)
    assert deployment.phase(clock()) is Phase.WAITING
    advance(5)
    assert deployment.phase(clock()) is Phase.RUNNING
    with pytest.raises(NothingServes):
        service.serving_version(ENDPOINT, ORG)
    advance(5)
    assert deployment.phase(clock()) is Phase.SUCCEEDED
    assert service.serving_version(ENDPOINT, ORG) is synced


def test_a_version_can_be_deployed_by_its_alias(service: Service, synced: ModelVersion) -> None:
    deployment = service.deploy_model(ENDPOINT, f"orgs/{ORG}/models/{ARCH}/versions/production")
    assert deployment.version is synced


def test_a_version_whose_sync_is_not_done_is_not_deployed(service: Service) -> None:
    with pytest.raises(NotDeployable, match="not done yet"):
        deploy(service, upload(service))


def test_a_version_whose_sync_has_failed_is_not_deployed(service: Service, advance: Callable[[float], None]) -> None:
    version = upload(service, planned_failure="bucket policy")
    advance(10)
    with pytest.raises(NotDeployable, match="has failed: bucket policy"):
        deploy(service, version)


def test_a_version_of_another_architecture_is_not_deployed(service: Service, synced: ModelVersion) -> None:
    with pytest.raises(NotDeployable, match=r"is of architecture gpt-oss-120b, but .* runs llama3.1-8b"):
        service.deploy_model(OTHER_ENDPOINT, synced.name)


def test_a_version_of_another_organization_is_not_deployed(service: Service) -> None:
    with pytest.raises(ForeignOrganization):
        service.deploy_model(ENDPOINT, f"orgs/other-org/models/{ARCH}/versions/1")


def test_an_unknown_endpoint_is_not_found(service: Service) -> None:
    with pytest.raises(NotFound, match="Endpoint nowhere does not exist"):
        service.endpoint("nowhere")


def test_a_failed_rollout_leaves_what_served_before(
    service: Service, synced: ModelVersion, clock: Callable[[], float], advance: Callable[[float], None]
) -> None:
    second = upload(service)
    deploy(service, synced)
    advance(10)
    failed = deploy(service, second, planned_failure="out of capacity")
    advance(10)
    assert failed.phase(clock()) is Phase.FAILED
    assert service.serving_version(ENDPOINT, ORG) is synced


def test_the_newest_complete_deployment_serves(
    service: Service, synced: ModelVersion, advance: Callable[[float], None]
) -> None:
    second = upload(service)
    deploy(service, synced)
    advance(10)
    deploy(service, second)
    advance(9)
    assert service.serving_version(ENDPOINT, ORG) is synced
    advance(1)
    assert service.serving_version(ENDPOINT, ORG) is second


def test_a_second_deployment_waits_for_the_first(
    service: Service, synced: ModelVersion, clock: Callable[[], float], advance: Callable[[float], None]
) -> None:
    first, second = deploy(service, synced), deploy(service, synced)
    advance(10)
    assert (first.phase(clock()), second.phase(clock())) == (Phase.SUCCEEDED, Phase.WAITING)
    advance(10)
    assert second.phase(clock()) is Phase.SUCCEEDED


def test_a_second_deployment_can_be_refused(make_service: MakeService, advance: Callable[[float], None]) -> None:
    service = make_service(deploy_during_rollout="refuse")
    version = upload(service)
    advance(10)
    deploy(service, version)
    with pytest.raises(RolloutUnderWay, match="still rolling out"):
        deploy(service, version)
    advance(10)
    deploy(service, version)


def test_a_second_deployment_can_supersede_the_first(
    make_service: MakeService, advance: Callable[[float], None]
) -> None:
    service = make_service(deploy_during_rollout="supersede")
    version = upload(service)
    advance(10)
    complete = deploy(service, version)
    advance(10)
    deploy(service, version)
    latest = deploy(service, version)
    assert service.listed_deployments(service.endpoint(ENDPOINT)) == [complete, latest]


def test_endpoints_do_not_wait_for_each_other(
    service: Service, synced: ModelVersion, clock: Callable[[], float], advance: Callable[[float], None]
) -> None:
    other = service.upload_model_version(ORG, OTHER_ARCH, "s3://bucket/weights", [], "")
    advance(10)
    deploy(service, synced)
    second = service.deploy_model(OTHER_ENDPOINT, other.name)
    advance(10)
    assert second.phase(clock()) is Phase.SUCCEEDED


def test_every_deployment_is_listed(service: Service, synced: ModelVersion, advance: Callable[[float], None]) -> None:
    deployments = [deploy(service, synced), deploy(service, synced, planned_failure="x"), deploy(service, synced)]
    advance(25)
    assert service.listed_deployments(service.endpoint(ENDPOINT)) == deployments


def test_the_list_can_be_kept_to_what_serves_and_what_rolls_out(
    make_service: MakeService, advance: Callable[[float], None]
) -> None:
    service = make_service(deployed_models="live")
    version = upload(service)
    advance(10)
    replaced, failed = deploy(service, version), deploy(service, version, planned_failure="x")
    serving, rolling_out, queued = (deploy(service, version) for _ in range(3))
    advance(35)
    assert replaced.phase(0) is failed.phase(0) is queued.phase(0) is Phase.WAITING
    assert service.listed_deployments(service.endpoint(ENDPOINT)) == [serving, rolling_out]


def test_a_version_that_serves_is_not_deleted(
    service: Service, synced: ModelVersion, advance: Callable[[float], None]
) -> None:
    deploy(service, synced)
    advance(10)
    with pytest.raises(VersionInUse, match="serves on endpoint my-org-gpt-oss-120b"):
        service.delete_model_version(ORG, ARCH, "production")


def test_a_version_that_rolls_out_is_not_deleted(service: Service, synced: ModelVersion) -> None:
    deploy(service, synced)
    with pytest.raises(VersionInUse, match="is being deployed"):
        service.delete_model_version(ORG, ARCH, "1")


def test_a_version_that_was_replaced_can_be_deleted_and_its_deployments_go_with_it(
    service: Service, synced: ModelVersion, advance: Callable[[float], None]
) -> None:
    second = upload(service)
    deploy(service, synced)
    advance(10)
    latest = deploy(service, second)
    advance(10)
    service.delete_model_version(ORG, ARCH, "1")
    assert service.listed_deployments(service.endpoint(ENDPOINT)) == [latest]


def test_an_endpoint_is_updated_by_a_submission_and_by_the_end_of_a_rollout(
    service: Service, synced: ModelVersion, clock: Callable[[], float], advance: Callable[[float], None]
) -> None:
    endpoint = service.endpoint(ENDPOINT)
    submitted = clock()
    assert endpoint.updated(submitted) == endpoint.created
    deploy(service, synced)
    advance(9)
    assert endpoint.updated(clock()) == submitted
    advance(2)
    assert endpoint.updated(clock()) == submitted + 10


def test_an_endpoint_was_not_updated_earlier_once_a_version_is_deleted(
    service: Service, synced: ModelVersion, clock: Callable[[], float], advance: Callable[[float], None]
) -> None:
    failed = upload(service)
    advance(10)
    deployment = deploy(service, failed, planned_failure="out of memory")
    advance(10)
    service.delete_model_version(ORG, ARCH, str(failed.number))
    assert service.endpoint(ENDPOINT).deployments == []
    assert service.endpoint(ENDPOINT).updated(clock()) == deployment.rollout.ends == clock()


def test_one_version_is_found_without_a_look_at_the_others(
    service: Service, advance: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        upload(service, [f"run-{number}"])
    advance(10)

    def looks(registry: VersionRegistry) -> Iterator[ModelVersion]:
        raise AssertionError("looks at all versions")

    monkeypatch.setattr(VersionRegistry, "__iter__", looks)
    assert service.model_version(ORG, ARCH, "run-77").number == 78
    assert upload(service, ["new"]).number == 101
    service.update_model_version_aliases(ORG, ARCH, "run-77", ["renamed"])
    deploy(service, service.model_version(ORG, ARCH, "renamed"))
    service.delete_model_version(ORG, ARCH, "run-5")
    with pytest.raises(AliasTaken):
        upload(service, ["run-6"])


@pytest.mark.parametrize("version_id", ["0", "01", "7" * 5000, "run-7 ", ""])
def test_what_is_no_version_is_not_found_however_it_is_written(service: Service, version_id: str) -> None:
    upload(service, ["run-7"])
    with pytest.raises(NotFound):
        service.model_version(ORG, ARCH, version_id)


def test_the_fingerprint_is_made_of_the_digest_and_the_suffix(service: Service) -> None:
    digest = hashlib.sha256(b"s3://bucket/weights").hexdigest()
    plain = upload(service)
    suffixed = service.upload_model_version(ORG, ARCH, "s3://bucket/weights", [], "run-7")
    assert plain.system_fingerprint() == f"fp_{digest[:16]}"
    assert suffixed.system_fingerprint() == f"fp_{digest[:16]}-run-7"
