"""Every argument of every operator and sensor, given in every way in which DAG authors give arguments.

All arguments of one operator are given at once in one way, with each of the values of :mod:`.forms` in turn.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, BaseSensorOperator

from airflow_provider_cerebras.exceptions import InvalidArgument
from tests.unit.arguments.forms import (
    AIRFLOWS,
    OPERATORS,
    SAMPLES,
    WRONG,
    Sample,
    Upstream,
    bases,
    new_dag,
    parameters,
    required,
    sets_of_samples,
    templated,
)

if TYPE_CHECKING:
    from collections.abc import Callable

EACH = pytest.mark.parametrize("name", OPERATORS)
NATIVE = pytest.mark.parametrize("native", [False, True], ids=["text", "native"])


def read(task: Any, samples: dict[str, Sample]) -> dict[str, Any]:
    """Render a task as Airflow does before it runs it, and return its arguments as `execute` finds them."""
    given = {argument: sample.given for argument, sample in samples.items()}
    mapped = hasattr(task, "partial_kwargs")
    ti = Upstream(given, map_index=0 if mapped else -1)
    context: Any = {
        "ti": ti,
        "given": given,
        "dag": task.dag,
        "dag_run": SimpleNamespace(conf={}),
        "params": {},
        "expanded_ti_count": None,
        "run_id": "run",
    }
    ready = task.prepare_for_execution()
    ready.render_template_fields(context, task.dag.get_template_env())
    ready = context["task"] if mapped else ready
    ready.pre_execute(context)
    return {argument: getattr(ready, argument) for argument in samples}


def expected(samples: dict[str, Sample]) -> dict[str, Any]:
    return {argument: sample.read for argument, sample in samples.items()}


def literals(samples: dict[str, Sample]) -> dict[str, Any]:
    return {argument: sample.given for argument, sample in samples.items()}


def templates(samples: dict[str, Sample]) -> dict[str, Any]:
    return {argument: f"{{{{ given.{argument} }}}}" for argument in samples}


def results(samples: dict[str, Sample]) -> dict[str, Any]:
    other: Any = BaseOperator(task_id="other")
    return {argument: other.output[argument] for argument in samples}


def ways(native: bool) -> list[tuple[Callable[[dict[str, Sample]], dict[str, Any]], bool]]:
    """Ways to give arguments, and whether only what survives as a text can be given so."""
    return [(literals, False), (templates, not native), (results, False)]


def test_all_are_here() -> None:
    assert {"CerebrasUploadModelVersionOperator", "CerebrasDeploymentSensor"} <= set(OPERATORS)
    assert len(OPERATORS) >= 10


@EACH
def test_the_table_has_each_argument_and_no_other(name: str) -> None:
    operator = OPERATORS[name]
    airflows = AIRFLOWS if issubclass(operator, BaseSensorOperator) else set()
    declared, taken = set(operator.arguments), {*parameters(*bases(operator)), *airflows}
    assert declared == taken, f"{name}: `arguments = takes(...)` and __init__ differ in {sorted(declared ^ taken)}"


@EACH
def test_what_is_templated_follows_from_the_table(name: str) -> None:
    operator = OPERATORS[name]
    assert set(operator.template_fields) == set(templated(operator))
    # Airflow serializes no DAG with a template field of such a name.
    assert not set(operator.template_fields) & set(parameters(BaseOperator))


@EACH
def test_each_argument_has_values_to_be_tried(name: str) -> None:
    reads = {argument: kind.read for argument, kind in templated(OPERATORS[name]).items()}
    assert {argument: function for argument, function in reads.items() if not {function} <= {*SAMPLES} & {*WRONG}} == {}


@EACH
def test_the_default_is_taken(name: str) -> None:
    operator = OPERATORS[name]
    with new_dag():
        task = operator(task_id="task", **required(operator))
    task.read_arguments()


@EACH
@NATIVE
def test_given_to_the_constructor(name: str, native: bool) -> None:
    operator = OPERATORS[name]
    for way, as_text in ways(native):
        for samples in sets_of_samples(operator, as_text=as_text):
            with new_dag(render_template_as_native_obj=native):
                task = operator(task_id="task", **way(samples))
            assert task.upstream_task_ids == ({"other"} if way is results else set())
            assert read(task, samples) == expected(samples)


@EACH
@NATIVE
def test_given_by_default_args(name: str, native: bool) -> None:
    operator = OPERATORS[name]
    for way, as_text in ways(native):
        for samples in sets_of_samples(operator, as_text=as_text, limit=2):
            with new_dag(render_template_as_native_obj=native) as dag:
                dag.default_args = way(samples)
                task = operator(task_id="task")
            assert task.upstream_task_ids == ({"other"} if way is results else set())
            assert read(task, samples) == expected(samples)


@EACH
@NATIVE
def test_given_to_partial(name: str, native: bool) -> None:
    operator = OPERATORS[name]
    for way, as_text in ways(native):
        for samples in sets_of_samples(operator, as_text=as_text, limit=2):
            with new_dag(render_template_as_native_obj=native):
                arguments = way(samples)
                along = next(iter(arguments))
                given = arguments.pop(along)
                mapped = samples[along].given if way is results else given
                task = operator.partial(task_id="task", **arguments).expand(**{along: [mapped]})
            assert task.upstream_task_ids == ({"other"} if way is results else set())
            assert read(task, samples) == expected(samples)


@EACH
@NATIVE
def test_given_to_expand(name: str, native: bool) -> None:
    operator = OPERATORS[name]
    for way, as_text in ways(native)[:2]:
        for samples in sets_of_samples(operator, as_text=as_text, limit=2):
            with new_dag(render_template_as_native_obj=native):
                task = operator.partial(task_id="task").expand(**{key: [each] for key, each in way(samples).items()})
            assert read(task, samples) == expected(samples)


@EACH
def test_expanded_over_results_of_a_task(name: str) -> None:
    operator = OPERATORS[name]
    with new_dag():
        other = BaseOperator(task_id="other")
        for argument in templated(operator):
            partial = operator.partial(task_id=argument, **required(operator, but=argument))
            assert partial.expand(**{argument: other.output}).upstream_task_ids == {"other"}


@EACH
def test_a_wrong_value_fails_the_task_before_anything_is_sent_and_names_the_argument(name: str) -> None:
    operator = OPERATORS[name]
    for argument, kind in templated(operator).items():
        wrong = next(each for each in WRONG[kind.read] if each is not None and each == each and each != math.inf)
        with new_dag():
            task = operator(task_id="task", **{**required(operator), argument: wrong})
        # No connection is defined here.
        for act in (task.pre_execute, task.execute):
            with pytest.raises(InvalidArgument, match=rf"^{argument}: "):
                act({"ti": Upstream()})


@EACH
def test_what_is_not_finite_is_refused_before_airflow_tries_to_show_it(name: str) -> None:
    operator = OPERATORS[name]
    for argument in templated(operator):
        for given in (math.inf, math.nan):
            with new_dag(), pytest.raises(InvalidArgument, match=rf"^{argument}: must be a finite number"):
                operator(task_id="task", **{**required(operator), argument: given})
            samples = {argument: Sample(given, None)}
            with new_dag(render_template_as_native_obj=True):
                task = operator(task_id="task", **{**required(operator), **templates(samples)})
            with pytest.raises(InvalidArgument, match=rf"^{argument}: must be a finite number"):
                read(task, samples)


def test_a_wrong_value_is_not_retried_and_is_what_it_would_be_in_python() -> None:
    assert issubclass(InvalidArgument, AirflowFailException)
    assert issubclass(InvalidArgument, ValueError)
    assert issubclass(InvalidArgument, TypeError)


@EACH
def test_what_takes_no_template_refuses_it_when_the_dag_is_parsed(name: str) -> None:
    operator = OPERATORS[name]
    with new_dag():
        other = BaseOperator(task_id="other")
        for argument in set(operator.arguments) - set(templated(operator)):
            for given in ("{{ given }}", other.output):
                with pytest.raises(ValueError, match=f"^{argument}: "):
                    operator(task_id="task", **required(operator), **{argument: given})
