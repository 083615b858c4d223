"""Every operator and sensor, every argument of each, and what each kind of argument is given and read as."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.providers.common.compat.sdk import DAG, BaseOperator, BaseSensorOperator

from airflow_provider_cerebras.arguments import desired, kinds
from airflow_provider_cerebras.weights.checks import CHECKS as NAMES_OF_CHECKS
from tests.task_instance import TaskInstance
from tests.unit.docs.public import modules, names

if TYPE_CHECKING:
    from airflow_provider_cerebras.arguments.kinds import Kind

OPERATORS: dict[str, Any] = {
    name: value
    for module in modules()
    for name, value in names(module).items()
    if isinstance(value, type) and issubclass(value, BaseOperator)
}
ROLE = "arn:aws:iam::123456789012:role/reader"
CHECKS = tuple(NAMES_OF_CHECKS)
VERSION = "orgs/my-org/models/gpt-oss-120b/versions/7"


class Sample(NamedTuple):
    """One value that a kind takes.

    :param given: the value.
    :param read: what it is read as.
    :param as_text: whether a template that does not render natively gives the same.
    """

    given: Any
    read: Any
    as_text: bool = True


class S3Path(PurePosixPath):
    """As libraries for paths in S3 have it: a path whose text is its URI."""

    def __str__(self) -> str:
        return "s3://my-bucket/runs/1"


class LazySequence(Sequence[Any]):
    """As Airflow gives the results of a mapped task: a sequence that is no list."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        return self.values[index]


def is_polite(answer: str) -> bool:
    """What a DAG's author would write to check an answer."""
    return "please" in answer


CHAT = [{"role": "user", "content": "What is 6 times 7?"}]
CASE = {"id": "a", "messages": CHAT, "expected": "42"}
PATTERN = re.compile(r"\b42\b")

SAMPLES: dict[Any, list[Sample]] = {
    kinds.read_boolean: [
        Sample(False, False),
        Sample(True, True),
        *(Sample(word, False) for word in ("false", "False", "0", "no", "off", "", 0)),
        *(Sample(word, True) for word in ("true", "TRUE", "1", "yes", "on", 1)),
    ],
    kinds.read_seconds: [Sample(90, 90), Sample(1.5, 1.5), Sample("90", 90), Sample(timedelta(minutes=1.5), 90)],
    kinds.read_seconds_or_zero: [Sample(90, 90), Sample("0", 0), Sample(timedelta(days=1, seconds=0.5), 86400.5)],
    kinds.read_number: [Sample(-1.5, -1.5), Sample("7", 7), Sample("1e3", 1000)],
    kinds.read_positive: [Sample(1.5, 1.5), Sample("7", 7)],
    kinds.read_share: [Sample(0.95, 0.95), Sample("0", 0), Sample(1, 1)],
    kinds.read_text: [Sample("words", "words"), Sample(42, "42")],
    kinds.read_count: [Sample(3, 3), Sample("3", 3), Sample(3.0, 3)],
    kinds.read_conn_id: [Sample("my_conn", "my_conn"), Sample(2024, "2024")],
    kinds.read_identifier: [Sample("my-id", "my-id"), Sample("20231023", "20231023"), Sample(20231023, "20231023")],
    kinds.read_model_version: [Sample(VERSION, VERSION)],
    kinds.read_weight_uri: [
        Sample("s3://my-bucket/runs/1", "s3://my-bucket/runs/1"),
        Sample("s3a://my-bucket/runs/1/", "s3://my-bucket/runs/1/"),
        Sample("s3://aws_default@my-bucket/runs/1", "s3://my-bucket/runs/1"),
        Sample(S3Path("runs"), "s3://my-bucket/runs/1"),
    ],
    kinds.read_suffix: [
        Sample("20231023", "20231023"),
        Sample("2023_10_23", "2023_10_23"),
        Sample("1.10", "1.10"),
        Sample("0", "0"),
        Sample(20231023, "20231023"),
        Sample(0, "0"),
        Sample("", None),
    ],
    kinds.read_digest: [Sample("0123456789abcdef" * 4, "0123456789abcdef" * 4), Sample("1" * 64, "1" * 64)],
    kinds.read_role_arn: [Sample(ROLE, ROLE)],
    kinds.read_checks: [Sample([CHECKS[0]], [CHECKS[0]]), Sample(CHECKS[:2], [*CHECKS[:2]])],
    kinds.read_alias: [Sample("prod", "prod")],
    kinds.read_aliases: [
        Sample(["prod", "best"], ["prod", "best"]),
        Sample(("prod", "best"), ["prod", "best"]),
        Sample({"prod", "best"}, ["best", "prod"]),
        Sample(LazySequence("prod"), ["prod"], as_text=False),
        Sample('["prod"]', ["prod"]),
        Sample([], []),
    ],
    kinds.read_patterns: [Sample(["prod*"], ["prod*"]), Sample({"b*", "a*"}, ["a*", "b*"])],
    kinds.read_mapping: [Sample({"temperature": 0}, {"temperature": 0}), Sample('{"seed": 7}', {"seed": 7})],
    desired.read_desired: [
        Sample({"my-endpoint": VERSION}, {"my-endpoint": VERSION}),
        Sample(f'{{"my-endpoint": "{VERSION}"}}', {"my-endpoint": VERSION}),
    ],
    kinds.read_messages: [
        Sample(CHAT, [CHAT]),
        Sample([CHAT, CHAT], [CHAT, CHAT]),
        Sample(LazySequence(CHAT), [CHAT], as_text=False),
        Sample([{"role": "user", "content": 42}], [[{"role": "user", "content": "42"}]]),
    ],
    kinds.read_dataset: [
        Sample([CASE], [CASE]),
        Sample(LazySequence(CASE), [CASE], as_text=False),
        Sample("s3://my-bucket/cases.jsonl", "s3://my-bucket/cases.jsonl"),
        Sample(PurePosixPath("/cases.jsonl"), PurePosixPath("/cases.jsonl"), as_text=False),
    ],
    kinds.read_location: [
        Sample("s3://my-bucket/results", "s3://my-bucket/results"),
        Sample(PurePosixPath("/results"), PurePosixPath("/results"), as_text=False),
    ],
    kinds.read_expectation: [
        Sample("42", "42"),
        Sample(42, "42"),
        Sample(PATTERN, PATTERN, as_text=False),
        Sample(is_polite, is_polite, as_text=False),
    ],
}
WRONG: dict[Any, list[Any]] = {
    kinds.read_boolean: [None, "maybe", 2, "None", [], "{{ x }}"],
    kinds.read_seconds: [None, 0, -1, float("inf"), float("nan"), 10**12, "soon", "", "1e400", True, timedelta(0)],
    kinds.read_seconds_or_zero: [None, -1, float("inf"), float("nan"), 10**400, "soon", timedelta(days=10**6), []],
    kinds.read_number: [None, float("nan"), float("inf"), "1_000", "many", True, []],
    kinds.read_positive: [None, 0, -1, float("nan"), "many", True],
    kinds.read_share: [None, -0.1, 1.1, float("nan"), "95%", False],
    kinds.read_text: [None, "", 1.5, "{{ x }}", "None", []],
    kinds.read_count: [None, 0, -1, 1.5, "many", float("nan"), 10**12, True],
    kinds.read_conn_id: [None, "", "a b", "{{ conn }}", "None", 1.5],
    kinds.read_identifier: [None, "", "a b", "..", "{{x}}", "None", 1.5, ["a"]],
    kinds.read_model_version: [None, "", "7", "prod", f"{VERSION}\n", "{{ x }}", "None", 7],
    kinds.read_weight_uri: [
        None,
        "",
        "/tmp/weights",
        "gs://my-bucket/runs/1",
        "https://my-bucket.s3.eu-central-1.amazonaws.com/runs/1",
        "arn:aws:s3:::my-bucket/runs/1",
        "s3://my-bucket",
        "s3://my-bucket/",
        "s3a://my-bucket",
        "s3://my-bucket/None",
        "s3://my-bucket/None/weights",
        "s3://my-bucket/runs/1 ",
        " s3://my-bucket/runs/1",
        "s3://my-bucket/runs/{{ ds }}",
        "s3://my-bucket/{% if x %}",
        "s3://my_bucket/runs/1",
        "s3://None/runs/1",
        PurePosixPath("s3://my-bucket/runs/1"),
        7,
    ],
    kinds.read_suffix: [1.1, "a\nb", "{{ ds }}", ["a"], "None"],
    kinds.read_digest: [None, "", "abc", "{{ x }}", "None", 7],
    kinds.read_role_arn: [None, "", "arn:aws:s3:::my-bucket", "{{ x }}", "None", 7],
    kinds.read_checks: [None, CHECKS[0], ["missing"], [7], 7],
    kinds.read_alias: [None, "", "7", "Prod", "None", 7],
    kinds.read_aliases: [None, "prod", ["7"], [None], {"prod": 1}, 7, "['prod", "[1.5]"],
    kinds.read_patterns: [None, "prod*", [""], 7],
    kinds.read_mapping: [None, "x", [("a", 1)], {1: 2}],
    desired.read_desired: [None, "x", [VERSION], {1: VERSION}, {"a b": VERSION}, {"a": "prod"}, {"a": None}],
    kinds.read_messages: [None, "", [], [[]], "Hello", [7], [{"role": "user"}, 7]],
    kinds.read_dataset: [None, "", 7, {"id": 1}, "{{ x }}", "None"],
    kinds.read_location: [None, "", 7.5, "{{ x }}", "None"],
    kinds.read_expectation: ["", [], 1.5, "{{ x }}"],
}


def bases(operator: Any) -> list[type]:
    """The classes of this provider that an operator is made of."""
    return [base for base in operator.__mro__ if base.__module__.startswith("airflow_provider_cerebras.")]


def parameters(*classes: Any) -> dict[str, inspect.Parameter]:
    """The named parameters of the constructors of classes; those of the first one win."""
    found: dict[str, inspect.Parameter] = {}
    for each in classes:
        if "__init__" in vars(each):
            for name, parameter in inspect.signature(inspect.unwrap(vars(each)["__init__"])).parameters.items():
                if name != "self" and parameter.kind is parameter.KEYWORD_ONLY:
                    found.setdefault(name, parameter)
    return found


def templated(operator: Any) -> dict[str, Kind]:
    """The arguments of an operator that take templates."""
    return {argument: kind for argument, kind in operator.arguments.items() if kind.templated}


def sets_of_samples(operator: Any, *, as_text: bool, limit: int | None = None) -> list[dict[str, Sample]]:
    """Values for all templated arguments at once, so that each value of each argument is in one of the sets.

    :param operator: the class.
    :param as_text: whether only values are wanted that a template gives as well as a text.
    :param limit: how many sets at most.
    """
    of_each = {}
    for argument, kind in templated(operator).items():
        values = [*SAMPLES[kind.read], *([Sample(None, None, as_text=False)] if kind.optional else [])]
        of_each[argument] = [sample for sample in values if sample.as_text or not as_text]
    count = max(map(len, of_each.values()))
    return [
        {argument: values[number % len(values)] for argument, values in of_each.items()}
        for number in range(min(count, limit or count))
    ]


def required(operator: Any, but: str = "") -> dict[str, Any]:
    """Values for the arguments of an operator that have no default."""
    return {
        name: SAMPLES[operator.arguments[name].read][0].given
        for name, parameter in parameters(*bases(operator)).items()
        if parameter.default is parameter.empty and name != but
    }


class Upstream(TaskInstance):
    """A task instance for which another task has left results."""

    def __init__(self, results: dict[str, Any] | None = None, map_index: int = -1) -> None:
        super().__init__(map_index=map_index)
        self.results = results or {}

    def xcom_pull(self, *, key: str, **_: Any) -> Any:
        """What the other task has left."""
        return self.results[key]

    def get_relevant_upstream_map_indexes(self, *_: Any, **__: Any) -> None:
        """All of them."""


def new_dag(dag_id: str = "dag", **arguments: Any) -> DAG:
    """A DAG that is not scheduled."""
    return DAG(dag_id, start_date=datetime(2025, 1, 1, tzinfo=UTC), schedule=None, **arguments)


AIRFLOWS = set(parameters(BaseSensorOperator))
