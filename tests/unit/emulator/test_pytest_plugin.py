"""The pytest plugin as users have it: in a suite of their own, run by a pytest of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PLUGIN = 'pytest_plugins = ["airflow_provider_cerebras.emulator.pytest_plugin"]\n'


@pytest.fixture
def suite(pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A suite that has opted in."""
    monkeypatch.delenv("AIRFLOW_CONN_CEREBRAS_DEFAULT", raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    pytester.makeconftest(PLUGIN)
    return pytester


def run(suite: pytest.Pytester, test_file: str) -> pytest.RunResult:
    suite.makepyfile(test_file)
    return suite.runpytest_subprocess("--strict-markers", "-p", "no:cacheprovider")


def test_the_fixtures(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        import json, os, sys
        import pytest

        class TestEmulator:
            def test_it_answers(self, cerebras_emulator):
                version = cerebras_emulator.upload("s3://bucket/weights", "prod")
                assert cerebras_emulator.versions()[version].aliases == ["prod"]
                cerebras_emulator.add_fault("*", status=503, times=None)
                TestEmulator.url = cerebras_emulator.base_url

            def test_it_is_the_same_server_and_yet_fresh(self, cerebras_emulator):
                assert cerebras_emulator.base_url == self.url
                assert not cerebras_emulator.versions()
                assert not cerebras_emulator.faults()
                assert not cerebras_emulator.requests()

            def test_nothing_of_airflow_was_imported_for_it(self):
                assert "airflow" not in sys.modules

        class TestConnection:
            def test_it_leads_to_the_emulator(self, cerebras_emulator, cerebras_connection):
                assert cerebras_connection == "cerebras_default"
                connection = json.loads(os.environ["AIRFLOW_CONN_CEREBRAS_DEFAULT"])
                assert f"{connection['host']}:{connection['port']}" == cerebras_emulator.base_url
                assert connection["extra"]["org_name"] == cerebras_emulator.org

            def test_airflow_finds_it(self, cerebras_connection):
                from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
                assert CerebrasHook(cerebras_conn_id=cerebras_connection).test_connection()[0]

            def test_it_is_gone_afterwards(self):
                assert "AIRFLOW_CONN_CEREBRAS_DEFAULT" not in os.environ

        class TestSettings:
            @pytest.fixture
            def cerebras_emulator_settings(self):
                return {"org": "acme", "sync_seconds": 60}

            def test_of_the_fixture(self, cerebras_emulator):
                settings = cerebras_emulator.settings
                assert (settings.org, settings.sync_seconds, settings.rollout_seconds) == ("acme", 60, 0.2)
                assert cerebras_emulator.base_url != TestEmulator.url

            @pytest.mark.cerebras_emulator(sync_seconds=30, rollout_seconds=30)
            class TestOfMarkers(object):
                @pytest.mark.cerebras_emulator(sync_seconds=10800)
                def test_the_nearest_wins(self, cerebras_emulator):
                    settings = cerebras_emulator.settings
                    assert (settings.org, settings.sync_seconds, settings.rollout_seconds) == ("acme", 10800, 30)
        """,
    )
    result.assert_outcomes(passed=8)


def test_a_setting_that_is_none_is_an_error_that_names_it(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        import pytest

        @pytest.mark.cerebras_emulator(10800)
        def test_without_a_name(cerebras_emulator): pass

        @pytest.mark.cerebras_emulator(sync_secs=1)
        def test_misspelt(cerebras_emulator): pass
        """,
    )
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        [
            "The marker cerebras_emulator takes settings by their names only.",
            "*sync_secs",
            "*Extra inputs are not permitted*",
        ]
    )


def test_without_the_extra_it_says_what_to_install(suite: pytest.Pytester) -> None:
    suite.makeconftest(f"import sys\nsys.modules['fastapi'] = None\n{PLUGIN}")
    result = run(suite, "def test_something(cerebras_emulator): pass\ndef test_without_it(): pass")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["The emulator needs fastapi: pip install 'airflow-provider-cerebras[[]emulator]'"])
