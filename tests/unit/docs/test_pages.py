"""What the pages show is what is run, and what they point to is there."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_cerebras import __version__
from tests.unit.docs.public import modules, names

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8")
    for page in (*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md")
    if "_build" not in page.parts
}
OPERATORS = [
    name
    for module in modules()
    for name, value in names(module).items()
    if isinstance(value, type) and issubclass(value, BaseOperator)
]


def shown() -> str:
    """All of Python that the pages take from files, which other tests run."""
    included = []
    for page, text in PAGES.items():
        for target, options in re.findall(r"```\{literalinclude\} (\S+\.py)\n((?::.*\n)*)", text):
            given = dict(re.findall(r'^:([a-z-]+): "?(.*?)"?$', options, re.MULTILINE))
            code = ((ROOT / page).parent / target).read_text(encoding="utf-8")
            if start := given.get("start-after") or given.get("start-at"):
                assert start in code, f"{page}: {target} has no {start!r}"
                code = code[code.index(start) :]
            if end := given.get("end-before"):
                assert end in code, f"{page}: {target} has no {end!r}"
                code = code[: code.index(end)]
            included.append(code)
    return "\n".join(included)


@pytest.mark.parametrize("name", [*OPERATORS, "CerebrasHook", "cerebras_release"])
def test_each_is_shown_by_code_that_is_run(name: str) -> None:
    assert re.search(rf"\b{name}(\.partial)?\(", shown())


@pytest.mark.parametrize("page", PAGES)
def test_no_page_tells_of_the_machine_it_was_written_on(page: str) -> None:
    places = [str(ROOT), str(Path.home()), socket.gethostname()]
    assert [place for place in places if len(place) > 5 and place in PAGES[page]] == []
    assert not re.search(r"(/home|/Users)/\w", PAGES[page])


@pytest.mark.parametrize("page", ["README.md"])
def test_the_files_that_a_page_points_to_are_there(page: str) -> None:
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)", PAGES[page]) if "://" not in target]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page != "docs/install.md"])
def test_no_command_installs_what_is_not_published(page: str) -> None:
    blocks = re.findall(r"```(?:shell|yaml|docker)\n(.*?)```", PAGES[page], re.DOTALL)
    assert [line for block in blocks for line in block.splitlines() if "install 'airflow-provider" in line] == []


def test_the_wheels_that_are_named_are_of_this_version() -> None:
    texts = [
        *PAGES.values(),
        *(file.read_text(encoding="utf-8") for file in (DOCS / "snippets").iterdir() if file.is_file()),
    ]
    wheels = {
        name for text in texts for name in re.findall(r"airflow_provider_cerebras-[\w.]+-py3-none-any\.whl", text)
    }
    assert wheels == {f"airflow_provider_cerebras-{__version__}-py3-none-any.whl"}


@pytest.mark.parametrize("page", PAGES)
def test_python_on_a_page_is_python(page: str) -> None:
    for code in re.findall(r"```python\n(.*?)```", PAGES[page], re.DOTALL):
        compile(code, page, "exec")


def test_the_dag_of_the_readme_does_what_its_first_sentence_says() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGES["README.md"], re.DOTALL)
    given: dict[str, Any] = {}
    exec(code.replace("with DAG(", "dag = DAG(", 1).replace("\n):\n", "\n)\nwith dag:\n", 1), given)
    before = ["check_weights", "upload", "wait_for_sync", "evaluate_baseline"]
    after = ["deploy", "wait_for_rollout", "verify", "evaluate", "promote", "roll_back", "conclude"]
    assert {f"cerebras_release.{step}" for step in before + after} == set(given["dag"].task_ids)


@pytest.mark.parametrize("page", PAGES)
def test_names_that_a_page_imports_exist(page: str) -> None:
    for code in re.findall(r"```python\n(.*?)```", PAGES[page], re.DOTALL):
        for line in re.findall(r"^from airflow_provider_cerebras.*$", code, re.MULTILINE):
            try:
                exec(line, {})
            except ImportError as error:
                # Some are there from a later Airflow on only, and say so.
                assert "needs Airflow" in str(error)  # noqa: PT017
