"""Moving and changing aliases: killed at any instant, it can be run again."""

from __future__ import annotations

import random
from contextlib import closing
from typing import TYPE_CHECKING

import httpx
import pytest

from airflow_provider_cerebras.api.errors import BadRequest, CerebrasError, Conflict, NotFound
from airflow_provider_cerebras.durable.aliases import AliasChange, change_aliases, promote
from airflow_provider_cerebras.durable.seals import disown
from airflow_provider_cerebras.emulator.api.operations import OperationName
from airflow_provider_cerebras.exceptions import AliasesUnsettled, AliasInUse
from tests.unit.durable.world import KEY, Attempt, Mishap, Network, Service, broken, name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_cerebras.api.client import CerebrasClient

GET, PATCH = OperationName.GET_MODEL_VERSION, OperationName.UPDATE_MODEL_VERSION_ALIASES


class Killed(BaseException):
    """SIGKILL: nothing of the attempt runs after it."""


def get(version: int) -> httpx.Request:
    return httpx.Request(
        "GET", f"http://127.0.0.1/management/v1/{name(version)}", headers={"Authorization": f"Bearer {KEY}"}
    )


@pytest.fixture
def service() -> Iterator[Service]:
    with closing(Service()) as service:
        service.upload("s3://weights/1", "prod", "blue")
        service.upload("s3://weights/2", "green")
        yield service


def run_promotion(service: Service, *mishaps: Mishap, target: int | str = 2) -> Attempt:
    attempt = Attempt(service, list(mishaps))
    with closing(attempt.client()) as client:
        promoted = promote(
            client, name(target), "prod", log=attempt.journal, sleep=attempt.pass_time, clock=lambda: service.now
        )
        assert promoted == name(2)
    return attempt


class TestPromote:
    def test_it_moves_the_alias_and_nothing_else(self, service: Service) -> None:
        attempt = run_promotion(service)
        assert service.aliases() == {1: ["blue"], 2: ["green", "prod"]}
        assert "no version had it for" in attempt.journal.text

    def test_it_is_set_where_nobody_has_it(self, service: Service) -> None:
        service.set_aliases(name(1), "blue")
        assert run_promotion(service).network.count(PATCH) == 1
        assert service.aliases() == {1: ["blue"], 2: ["green", "prod"]}

    def test_nothing_is_sent_where_it_is_already(self, service: Service) -> None:
        run_promotion(service)
        assert run_promotion(service).network.count(PATCH) == 0

    def test_the_target_may_be_named_by_an_alias(self, service: Service) -> None:
        run_promotion(service, target="green")
        assert service.aliases()[2] == ["green", "prod"]

    @pytest.mark.parametrize("worked", [False, True], ids=["not processed", "processed"])
    @pytest.mark.parametrize(
        ("operation", "skip"), [(GET, 0), (GET, 1), (PATCH, 0), (PATCH, 1)], ids=["look", "holder", "free", "set"]
    )
    def test_killed_at_any_instant_a_retry_ends_in_the_same_place(
        self, service: Service, operation: OperationName, skip: int, worked: bool
    ) -> None:
        with pytest.raises(Killed):
            run_promotion(service, Mishap(operation, Killed(), worked=worked, skip=skip))
        run_promotion(service)
        assert service.aliases() == {1: ["blue"], 2: ["green", "prod"]}

    @pytest.mark.parametrize("worked", [False, True], ids=["not processed", "processed"])
    @pytest.mark.parametrize("end", ["dropped", "timeout", "500", "503", "502"])
    @pytest.mark.parametrize("skip", [0, 1], ids=["free", "set"])
    def test_what_goes_wrong_on_the_way_is_dealt_with_in_the_attempt(
        self, service: Service, skip: int, end: str, worked: bool
    ) -> None:
        run_promotion(service, Mishap(PATCH, broken(end), worked=worked, skip=skip))
        assert service.aliases() == {1: ["blue"], 2: ["green", "prod"]}

    def test_it_is_put_back_where_it_cannot_be_set(self, service: Service) -> None:
        # The second request and each of its five repetitions; putting back comes after them.
        with pytest.raises(CerebrasError):
            run_promotion(service, Mishap(PATCH, broken("503"), worked=False, skip=1, times=6))
        assert service.aliases() == {1: ["blue", "prod"], 2: ["green"]}

    def test_where_it_cannot_be_put_back_either_the_error_says_so(self, service: Service) -> None:
        with pytest.raises(CerebrasError) as caught:
            run_promotion(service, Mishap(PATCH, broken("503"), worked=False, skip=1, times=12))
        assert f"could not be put back to {name(1)}" in "".join(caught.value.__notes__)

    def test_a_target_that_is_deleted_meanwhile_leaves_it_where_it_was(self, service: Service) -> None:
        with pytest.raises(NotFound):
            run_promotion(service, Mishap(PATCH, skip=1, meanwhile=lambda: service.delete(name(2))))
        assert service.aliases() == {1: ["blue", "prod"]}

    def test_a_target_that_does_not_exist_is_an_error_before_anything_moves(self, service: Service) -> None:
        with pytest.raises(NotFound):
            run_promotion(service, target=9)
        assert service.aliases()[1] == ["prod", "blue"]

    def test_a_holder_that_is_deleted_meanwhile_has_freed_it(self, service: Service) -> None:
        run_promotion(service, Mishap(PATCH, meanwhile=lambda: service.delete(name(1))))
        assert service.aliases() == {2: ["green", "prod"]}

    def test_one_that_takes_it_in_between_is_overtaken(self, service: Service) -> None:
        third = service.upload("s3://weights/3")
        run_promotion(service, Mishap(PATCH, skip=1, meanwhile=lambda: service.set_aliases(third, "prod")))
        assert service.aliases() == {1: ["blue"], 2: ["green", "prod"], 3: []}

    def test_a_refusal_that_stays_is_the_service_s_last_word(self, service: Service) -> None:
        refusal = httpx.Response(422, json={"detail": "too many aliases"})
        with pytest.raises(BadRequest, match="too many aliases"):
            run_promotion(service, Mishap(PATCH, refusal, worked=False, skip=1, times=100))

    def test_an_alias_that_the_holder_is_given_meanwhile_stays_there(self, service: Service) -> None:
        given = Mishap(GET, skip=2, meanwhile=lambda: service.set_aliases(name(1), "prod", "blue", "audited"))
        run_promotion(service, given)
        assert service.aliases() == {1: ["blue", "audited"], 2: ["green", "prod"]}

    def test_one_that_is_moved_on_by_another_task_stays_there(self, service: Service) -> None:
        third = service.upload("s3://weights/3")

        def move_on() -> None:
            service.set_aliases(name(2), "green")
            service.set_aliases(third, "prod")

        attempt = run_promotion(service, Mishap(GET, skip=5, meanwhile=move_on))
        assert service.aliases() == {1: ["blue"], 2: ["green"], 3: ["prod"]}
        assert f"has been moved on to {third} since" in attempt.journal.text

    def test_a_404_that_is_not_the_api_s_does_not_say_that_nobody_has_it(self, service: Service) -> None:
        page = httpx.Response(404, html="<html>no such page</html>")
        attempt = Attempt(service, [Mishap(GET, page, skip=1, times=99)])
        with closing(attempt.client()) as client, pytest.raises(NotFound, match="no such page"):
            promote(client, name(2), "prod", log=attempt.journal, sleep=attempt.pass_time)
        assert attempt.network.count(PATCH) == 0


class TestPromotionAgainstOthers:
    """Other clients that move the alias meanwhile, and reads that lag behind."""

    @pytest.fixture(autouse=True)
    def longest_pauses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(random, "uniform", lambda low, high: high)

    def promote(self, service: Service, *mishaps: Mishap) -> Attempt:
        self.attempt = Attempt(service, list(mishaps))
        with closing(self.attempt.client()) as client:
            promote(
                client,
                name(2),
                "prod",
                log=self.attempt.journal,
                sleep=self.attempt.pass_time,
                clock=lambda: service.now,
            )
        return self.attempt

    def test_one_that_is_taken_again_and_again_is_left_after_five_moves(self, service: Service) -> None:
        third = service.upload("s3://weights/3")

        def take() -> None:
            if not any("prod" in held for held in service.aliases().values()):
                service.set_aliases(third, "prod")

        with pytest.raises((BadRequest, Conflict)):
            self.promote(service, Mishap(PATCH, times=1000, meanwhile=take))
        lists = [body["version_aliases"] for _, version, body in self.attempt.network.sent if body and version != "2"]
        assert len([held for held in lists if "prod" not in held]) == 5
        assert service.aliases() == {1: ["blue"], 2: ["green"], 3: ["prod"]}

    def test_a_refusal_that_no_holder_explains_is_the_last_word_after_half_a_minute(self, service: Service) -> None:
        service.set_aliases(name(1), "blue")
        refused = httpx.Response(409, json={"detail": "taken"})
        with pytest.raises(Conflict):
            self.promote(service, Mishap(PATCH, refused, worked=False, times=1000))
        # Each refusal is followed by a pause before the list is read, and by one before the next attempt.
        assert self.attempt.pauses == [0.5, 0.5, 0.5, 1, 0.5, 2, 0.5, 4, 0.5, 8, 0.5, 8, 0.5, 8, 0.5]

    def test_one_that_another_client_drops_is_set_again(self, service: Service) -> None:
        dropped = Mishap(GET, skip=5, meanwhile=lambda: service.set_aliases(name(2), "green"))
        attempt = self.promote(service, dropped)
        assert service.aliases() == {1: ["blue"], 2: ["green", "prod"]}
        assert "moved on" not in attempt.journal.text

    def test_one_that_nobody_had_and_another_task_moves_on_stays_there(self, service: Service) -> None:
        service.set_aliases(name(1), "blue")
        third = service.upload("s3://weights/3")

        def move_on() -> None:
            service.set_aliases(name(2), "green")
            service.set_aliases(third, "prod")

        attempt = self.promote(service, Mishap(GET, skip=3, meanwhile=move_on))
        assert service.aliases() == {1: ["blue"], 2: ["green"], 3: ["prod"]}
        assert f"Alias prod was set on {name(2)}, and has been moved on to {third} since." in attempt.journal.lines

    def test_a_read_that_lags_behind_the_write_shows_no_other_task(self, service: Service) -> None:
        old = service.answer(get(2))
        attempt = self.promote(service, Mishap(GET, httpx.Response(200, content=old.content), skip=5))
        assert service.aliases() == {1: ["blue"], 2: ["green", "prod"]}
        assert "moved on" not in attempt.journal.text

    def test_a_read_that_does_not_show_yet_that_it_is_there_moves_nothing(self, service: Service) -> None:
        old = service.answer(get(2))
        self.promote(service)
        attempt = self.promote(service, Mishap(GET, httpx.Response(200, content=old.content)))
        assert attempt.network.count(PATCH) == 0

    def test_it_is_put_back_without_a_pause_for_settling(self, service: Service) -> None:
        with pytest.raises(CerebrasError):
            self.promote(service, Mishap(PATCH, broken("503"), worked=False, skip=1, times=6))
        assert self.attempt.pauses == [2, 4, 8, 16, 30]


class TestChange:
    def change(self, service: Service, version: int | str, **wanted: list[str]) -> list[str]:
        checked = AliasChange.checked(**{"add": None, "remove": None, "replace": None, **wanted})
        self.attempt = Attempt(service)
        with closing(self.attempt.client()) as client:
            return self._run(client, version, checked)

    def _run(self, client: CerebrasClient, version: int | str, change: AliasChange) -> list[str]:
        attempt = self.attempt
        return change_aliases(client, name(version), change, log=attempt.journal, sleep=attempt.pass_time)[1]

    def test_add_and_remove(self, service: Service) -> None:
        assert self.change(service, 1, add=["canary"], remove=["blue"]) == ["prod", "canary"]
        assert service.aliases()[1] == ["prod", "canary"]

    def test_replace(self, service: Service) -> None:
        assert self.change(service, 1, replace=["canary"]) == ["canary"]
        assert service.aliases()[1] == ["canary"]

    def test_replace_by_nothing(self, service: Service) -> None:
        assert self.change(service, 1, replace=[]) == []
        assert service.aliases()[1] == []

    def test_what_the_provider_keeps_there_stays_unless_it_is_named(self, service: Service) -> None:
        own = f"airflow-{'0123456789' * 4}-0"
        service.set_aliases(name(1), own, "prod")
        assert self.change(service, 1, replace=["canary"]) == ["canary"]
        assert service.aliases()[1] == [own, "canary"]
        assert self.change(service, 1, remove=[own]) == ["canary"]
        assert service.aliases()[1] == ["canary"]

    def test_nothing_is_sent_where_nothing_changes(self, service: Service) -> None:
        self.change(service, 1, add=["prod"], remove=["green"])
        assert self.attempt.network.count(PATCH) == 0

    def test_the_version_may_be_named_by_the_alias_that_it_loses(self, service: Service) -> None:
        assert self.change(service, "blue", remove=["blue"]) == ["prod"]

    def test_an_alias_of_another_version_is_not_taken(self, service: Service) -> None:
        with pytest.raises(AliasInUse, match=r"versions/1.*Nothing was changed\..*CerebrasPromoteModelVersionOperator"):
            self.change(service, 2, add=["prod"])
        assert service.aliases() == {1: ["prod", "blue"], 2: ["green"]}

        assert self.attempt.network.count(PATCH) == 0

    def test_a_change_that_was_sent_is_not_said_to_be_none(self, service: Service) -> None:
        """Another client takes the alias between the check and the write."""
        refused = Mishap(PATCH, meanwhile=lambda: service.set_aliases(name(1), "prod", "blue", "canary"))
        self.attempt = Attempt(service, [refused])
        with closing(self.attempt.client()) as client, pytest.raises(AliasInUse, match=r"versions/1") as caught:
            self._run(client, 2, AliasChange(add=("canary",)))
        assert self.attempt.network.count(PATCH) == 1
        assert "Nothing was changed" not in str(caught.value)
        assert f"The service refused the change; check which aliases {name(2)} has now." in str(caught.value)

    @pytest.mark.parametrize("skip", [2, 3, 4], ids=["before it is written", "after", "in the settling time"])
    def test_what_something_else_overwrites_is_put_in_again(self, service: Service, skip: int) -> None:
        self.attempt = Attempt(service, [Mishap(GET, skip=skip, meanwhile=lambda: service.set_aliases(name(2), "red"))])
        with closing(self.attempt.client()) as client:
            assert self._run(client, 2, AliasChange(add=("canary",))) == ["red", "canary"]
        assert service.aliases()[2] == ["red", "canary"]

    def test_what_others_add_between_two_reads_stays(self, service: Service) -> None:
        adding = Mishap(GET, skip=2, meanwhile=lambda: service.set_aliases(name(2), "green", "audited"))
        self.attempt = Attempt(service, [adding])
        with closing(self.attempt.client()) as client:
            assert self._run(client, 2, AliasChange(replace=("canary",))) == ["audited", "canary"]

    @pytest.mark.parametrize("lag", [1, 5, 20, 29])
    def test_reads_that_lag_behind_the_write_are_waited_for(self, service: Service, lag: float) -> None:
        attempt = self.attempt = Attempt(service)
        old = service.answer(get(2))
        written: list[float] = []

        class Lagging(Network):
            def handle_request(self, request: httpx.Request) -> httpx.Response:
                response = super().handle_request(request)
                if request.method == "PATCH":
                    written.append(service.now)
                if request.method == "GET" and written and service.now - written[0] < lag:
                    return httpx.Response(200, content=old.content)
                return response

        attempt.network = Lagging(service)
        with closing(attempt.client()) as client:
            assert self._run(client, 2, AliasChange(add=("canary",))) == ["green", "canary"]
        assert attempt.network.count(PATCH) == 1
        assert sum(attempt.pauses) > 2 * lag

    def test_what_is_overwritten_again_and_again_is_an_error_in_the_end(self, service: Service) -> None:
        overwriting = Mishap(GET, skip=2, times=1000, meanwhile=lambda: service.set_aliases(name(2), "red"))
        self.attempt = Attempt(service, [overwriting])
        with closing(self.attempt.client()) as client, pytest.raises(AliasesUnsettled, match=r"but has \['red'\]"):
            self._run(client, 2, AliasChange(add=("canary",)))
        assert self.attempt.network.count(PATCH) <= 20
        assert 10 < sum(self.attempt.pauses) < 300


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({}, "^add, remove, replace: one of them must be given.$"),
            ({"add": []}, "^add, remove, replace: one of them must be given.$"),
            ({"add": ["prod"], "replace": ["prod"]}, "^replace: excludes add and remove.$"),
            ({"remove": ["prod"], "replace": []}, "replace: excludes"),
            ({"add": ["prod"], "remove": ["prod"]}, "'prod' cannot be in both"),
            ({"add": ["Prod"]}, "add: 'Prod' is not an alias"),
            ({"remove": ["prod\n"]}, "remove: "),
            ({"replace": ["1"]}, "replace: '1' is not an alias"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, arguments: dict[str, list[str]], words: str) -> None:
        with pytest.raises(ValueError, match=words.replace("(", r"\(")):
            AliasChange.checked(**{"add": None, "remove": None, "replace": None, **arguments})

    def test_a_text_is_no_list(self) -> None:
        with pytest.raises(TypeError, match="add: must be a list"):
            AliasChange.checked(add="prod", remove=None, replace=None)


class TestDisown:
    @staticmethod
    def disown(service: Service, version: int, *mishaps: Mishap) -> Attempt:
        attempt = Attempt(service, list(mishaps))
        with closing(attempt.client()) as client:
            disown(client, name(version), "blue", log=attempt.journal)
        return attempt

    def test_it_takes_that_alias_off_and_no_other(self, service: Service) -> None:
        self.disown(service, 1)
        assert service.aliases() == {1: ["prod"], 2: ["green"]}

    def test_a_version_that_does_not_hold_it_is_not_written_to(self, service: Service) -> None:
        attempt = self.disown(service, 2)
        assert service.aliases() == {1: ["prod", "blue"], 2: ["green"]}
        assert attempt.journal.text == ""
        assert attempt.network.count(PATCH) == 0

    def test_a_refusal_is_logged_and_fails_nothing(self, service: Service) -> None:
        attempt = self.disown(service, 1, Mishap(PATCH, httpx.Response(403, json={"detail": "no"}), worked=False))
        assert service.aliases()[1] == ["prod", "blue"]
        assert attempt.journal.text.startswith(f"The alias blue stays on model version {name(1)}: PATCH ")
