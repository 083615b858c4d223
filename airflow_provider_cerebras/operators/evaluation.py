"""The operator that evaluates an endpoint with a data set, and fails if it is not good enough.

What only a running task needs is imported when it runs: not every parse of a DAG should pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.api.errors import PERMANENT
from airflow_provider_cerebras.api.names import ModelVersionName, shown
from airflow_provider_cerebras.arguments.kinds import (
    COUNT,
    DATASET,
    IDENTIFIER,
    LOCATION,
    MAPPING,
    MODEL_VERSION,
    SCORERS,
    SHARE,
    takes,
)
from airflow_provider_cerebras.assets.provenance import trace_deployment
from airflow_provider_cerebras.assets.reporting import report
from airflow_provider_cerebras.durable.deployments import Rollout
from airflow_provider_cerebras.durable.generations import Ledger
from airflow_provider_cerebras.durable.identity import identify_evaluation
from airflow_provider_cerebras.durable.rollout_steps import VERDICT_KEY, what_serves
from airflow_provider_cerebras.durable.task_state import TaskState
from airflow_provider_cerebras.exceptions import (
    EvaluationFailed,
    InvalidArgument,
    VerificationNotDone,
    permanent_errors_fail,
)
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators._base import CerebrasOperator
from airflow_provider_cerebras.operators._locations import make_folder, open_location
from airflow_provider_cerebras.traces import set_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from airflow.providers.common.compat.sdk import Context, XComArg
    from pydantic import JsonValue

    from airflow_provider_cerebras.arguments.given import Number, Numbers, Text
    from airflow_provider_cerebras.evaluation.cases import DataSet
    from airflow_provider_cerebras.evaluation.plan import Plan
    from airflow_provider_cerebras.evaluation.report import Evaluation
    from airflow_provider_cerebras.evaluation.results import Totals
    from airflow_provider_cerebras.evaluation.scorers import Scorer, ScorerFunction
    from airflow_provider_cerebras.evaluation.storage import ResultStore

XCOM_KEY = "evaluation"
"""XCom key of the summary of an evaluation that failed; one that passes is what the task returns."""


_WHEN_SERVING = "Find out who deployed there, and clear the task when the version that it is to evaluate serves."


class CerebrasEvaluateEndpointOperator(CerebrasOperator):
    """Ask an endpoint all questions of a data set, score the answers, and fail unless they are good enough.

    It fails with ``EvaluationFailed`` if a requirement is not met, if the pass rate fell against the baseline by more
    than ``max_regression`` and by more than chance explains, or if the endpoint changed meanwhile. Any other error says
    that the evaluation could not be carried out, and nothing about the model. It holds a worker slot while it runs.

    Returns a summary, which can be the ``baseline`` of a later evaluation and is small enough for XCom. Of an
    evaluation that failed, it is pushed with the XCom key ``evaluation``. Questions and answers are not logged.

    Calls ``POST /v1/chat/completions`` of the inference API with the connection's inference API key, and with
    ``model_version`` ``GET /endpoints/{endpoint_id}``.

    :param endpoint_id: id of the endpoint. (templated)
    :param dataset: the cases: a list, or the path or URI of a JSONL file, for example
        ``s3://aws_default@my-bucket/cases.jsonl``. Each has ``id`` and ``messages``, and as far as scorers need it
        ``expected``; ``tags`` and ``weight`` are optional. (templated)
    :param scorers: names (``exact``, ``contains``, ``regex``, ``json_schema``, ``numeric``, ``refusal``) and callables
        ``(case, completion) -> bool | float``; a case passes if each gives at least 0.5. Callables are called from
        several threads. Default ``("exact",)``.
    :param require: limits by name, for example ``{"pass_rate": 0.95, "tag:safety": 1.0, "latency_p95": 2.0}``; all
        names are on the page "Gate a release". Default: none. (templated)
    :param baseline: what an earlier evaluation of the same cases returned; default None, which compares with nothing.
        (templated)
    :param max_regression: by which share of all cases the pass rate may fall against the baseline; default 0.0.
        (templated)
    :param confidence: share of evaluations of an equal model that pass, at least, whatever chance does; default 0.95.
        (templated)
    :param repeats: how often each case is asked; default 1. (templated)
    :param concurrency: how many requests are sent at once; default 16. (templated)
    :param max_requests: fail before the first question if there are more; default None: any number. (templated)
    :param chat_params: further fields of the requests, such as ``temperature``. (templated)
    :param model_version: full name of the version that must serve on the endpoint, by number or alias, before and
        after. Default: not checked. (templated)
    :param results_uri: folder for the single results, as JSONL, and for the report. A retry of the task reads them and
        asks only what has no result yet. Default: they are not stored. (templated)
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``. (templated)
    :raises InvalidArgument: if an argument or a case is against a rule; nothing was asked then.
    :raises EvaluationFailed: if the endpoint is not good enough, or changed meanwhile.
    :raises RequestRefused: if the service refuses a request for good.
    :raises VerificationNotDone: if something in front of the service refuses a request.
    """

    arguments = takes(
        endpoint_id=IDENTIFIER,
        dataset=DATASET,
        scorers=SCORERS,
        require=MAPPING.or_none,
        baseline=MAPPING.or_none,
        max_regression=SHARE,
        confidence=SHARE,
        repeats=COUNT,
        concurrency=COUNT,
        max_requests=COUNT.or_none,
        chat_params=MAPPING.or_none,
        model_version=MODEL_VERSION.or_none,
        results_uri=LOCATION.or_none,
    )

    def __init__(
        self,
        *,
        endpoint_id: Text,
        dataset: Sequence[Mapping[str, JsonValue]] | str | PathLike[str] | XComArg,
        scorers: Sequence[str | Scorer | ScorerFunction] = ("exact",),
        require: Numbers | None = None,
        baseline: Mapping[str, JsonValue] | XComArg | None = None,
        max_regression: Number = 0.0,
        confidence: Number = 0.95,
        repeats: Number = 1,
        concurrency: Number = 16,
        max_requests: Number | None = None,
        chat_params: dict[str, JsonValue] | None = None,
        model_version: Text | None = None,
        results_uri: str | PathLike[str] | XComArg | None = None,
        cerebras_conn_id: Text = CerebrasHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(cerebras_conn_id=cerebras_conn_id, **kwargs)
        self.endpoint_id: str = endpoint_id  # type: ignore[assignment]  # read before execute
        self.dataset: object = dataset
        self.scorers = scorers
        self.require: float = require  # type: ignore[assignment]  # read before execute
        self.baseline: object = baseline
        self.max_regression: float = max_regression  # type: ignore[assignment]  # read before execute
        self.confidence: float = confidence  # type: ignore[assignment]  # read before execute
        self.repeats: int = repeats  # type: ignore[assignment]  # read before execute
        self.concurrency: int = concurrency  # type: ignore[assignment]  # read before execute
        self.max_requests: int | None = max_requests  # type: ignore[assignment]  # read before execute
        self.chat_params = chat_params
        self.model_version: str | None = model_version  # type: ignore[assignment]  # read before execute
        self.results_uri: str | PathLike[str] | None = results_uri  # type: ignore[assignment]  # likewise

    def execute(self, context: Context) -> dict[str, JsonValue]:
        """Ask, score, compare, and fail unless it is good enough."""
        plan = self._plan()
        with permanent_errors_fail():
            version = self._resolve_version()
            identity = identify_evaluation(context, *self._identity_parts(plan, version))
            ledger = Ledger(context, identity, self.retries)
            store = self._open_store(plan, version, ledger)
            totals = self._resume(plan, store)
            serving = self._check_serves(version, "The endpoint is not evaluated")
            self._ask(plan, totals, store, TaskState(context, key="cerebras_evaluation", fingerprint=identity.base))
            void = "The evaluation is void: the endpoint changed under it"
            if self._check_serves(version, void) != serving:
                raise EvaluationFailed(
                    f"{void}. Endpoint {self.endpoint_id} was deployed to meanwhile. {_WHEN_SERVING}"
                )
        evaluation = plan.conclude(
            totals, model_version=version, results_uri=None if store is None else str(store.folder)
        )
        ledger.end()
        return self._conclude(evaluation, store, context)

    def _plan(self) -> Plan:
        from airflow_provider_cerebras.evaluation.plan import make_plan

        try:
            return make_plan(
                self._read_dataset(),
                endpoint_id=self.endpoint_id,
                scorers=self.scorers,
                require=self.require,
                baseline=self.baseline,
                max_regression=self.max_regression,
                confidence=self.confidence,
                repeats=self.repeats,
                concurrency=self.concurrency,
                max_requests=self.max_requests,
                chat_params=self.chat_params,
            )
        except ValueError as error:
            raise InvalidArgument(str(error)) from None

    def _read_dataset(self) -> DataSet:
        from airflow_provider_cerebras.evaluation.cases import read_jsonl, read_rows

        if isinstance(self.dataset, list):
            return read_rows(self.dataset)
        try:
            return read_jsonl(open_location(self.dataset, "dataset").read_text("utf-8"))
        except UnicodeDecodeError as error:
            raise ValueError(f"dataset: {shown(str(self.dataset))} is not UTF-8 (byte {error.start}).") from None

    def _resolve_version(self) -> str | None:
        if self.model_version is None:
            return None
        name = ModelVersionName.parse(self.model_version)
        return str(name) if name.number is not None else self.hook.get_model_version(str(name)).name

    def _identity_parts(self, plan: Plan, version: str | None) -> list[str]:
        digest, scorers, repeats, params = plan.subject
        return [plan.endpoint_id, version or "", digest, *scorers, str(repeats), params]

    def _open_store(self, plan: Plan, version: str | None, ledger: Ledger) -> ResultStore | None:
        from airflow_provider_cerebras.evaluation.storage import ResultStore, highest_number

        if self.results_uri is None:
            return None
        root, name = open_location(self.results_uri, "results_uri"), ledger.identity.base[:16]
        identity, begins = ledger.identify(lambda: highest_number(root, name))
        generation = identity.generation
        if begins:  # what is there is of a DAG run that was deleted and made again under the same id
            generation = max(generation, highest_number(root, name) + 1)
        ledger.begin()
        folder = root / f"{name}-{generation}"
        make_folder(folder)
        store = ResultStore(folder, identity.attempt)
        store.begin({"endpoint_id": plan.endpoint_id, "model_version": version, **_json(plan)})
        self.log.info("The results are stored in %s.", folder)
        return store

    def _resume(self, plan: Plan, store: ResultStore | None) -> Totals:
        totals = plan.new_totals()
        for result in store.read() if store is not None else ():
            totals.add(result)
        self.log.info(
            "Evaluating endpoint %s: %s cases (digest %s), each asked %s times; %s of %s questions have a result.",
            plan.endpoint_id,
            len(plan.dataset.cases),
            plan.dataset.digest[:16],
            plan.subject.repeats,
            totals.done,
            totals.questions,
        )
        if plan.baseline is None:
            self.log.info("There is no baseline, so nothing is compared.")
        return totals

    def _check_serves(self, version: str | None, consequence: str) -> str | None:
        """UUID of the deployment that serves; it must be of this version."""
        if version is None:
            return None
        serving = what_serves(Rollout(self.hook.get_conn(), self.endpoint_id, log=self.log).fetch())
        if serving is None or serving.model != version:
            found = "nothing" if serving is None else str(serving)
            raise EvaluationFailed(
                f"{consequence}. Endpoint {self.endpoint_id} must serve model version {version}, and {found} serves. "
                f"{_WHEN_SERVING}"
            )
        return serving.id

    def _ask(self, plan: Plan, totals: Totals, store: ResultStore | None, task_state: TaskState) -> None:
        from airflow_provider_cerebras.operators._evaluation import (
            EndpointChanged,
            answer_in_thread,
            check_fingerprints,
        )

        def log_progress(progress: str) -> None:
            self.log.info(progress)
            task_state.update(progress=progress)

        client = self.hook.make_inference_client(max_connections=plan.concurrency)
        try:
            check_fingerprints(totals)
            answer_in_thread(client, plan, totals, store, log_progress)
        except PERMANENT as error:
            if error.is_from_api:
                raise
            raise VerificationNotDone(
                f"Endpoint {self.endpoint_id} could not be evaluated: {error.without_hint()} A retry goes on from "
                "there; if none is left, clear the task."
            ) from error
        except EndpointChanged as change:
            raise EvaluationFailed(
                f"The evaluation is void: the endpoint changed under it: {change}. Endpoint {self.endpoint_id} "
                f"was deployed to meanwhile. {_WHEN_SERVING}"
            ) from None

    def _conclude(self, evaluation: Evaluation, store: ResultStore | None, context: Context) -> dict[str, JsonValue]:
        from airflow_provider_cerebras.evaluation.report import describe_change, describe_limits, summarize, to_markdown

        summary = summarize(evaluation)
        where = ""
        if store is not None:
            store.write_report(summary, to_markdown(evaluation))
            where = f" The report is {store.folder}/report.md."
        if evaluation.comparison is not None:
            self.log.info("Against the baseline, %s.", describe_change(evaluation.comparison))
            log = self.log.warning if evaluation.comparison.is_too_small else self.log.info
            log(describe_limits(evaluation.comparison, len(evaluation.dataset.cases)))
        problems = evaluation.problems()
        set_attributes(outcome="failed" if problems else "succeeded")
        if problems:
            ti: Any = context["ti"]
            ti.xcom_push(key=VERDICT_KEY, value="failed")
            if self.do_xcom_push:
                ti.xcom_push(key=XCOM_KEY, value=summary)
            where = where or " With results_uri, a report shows each case that failed."
            raise EvaluationFailed(f"Endpoint {self.endpoint_id} is not good enough: {'; '.join(problems)}.{where}")
        self.log.info("Endpoint %s is good enough: pass rate %.4g.%s", self.endpoint_id, summary["pass_rate"], where)
        report(self, context, lambda: trace_deployment(self.hook.get_conn(), self.endpoint_id, log=self.log))
        return summary


def _json(plan: Plan) -> dict[str, JsonValue]:
    return {**plan.subject._asdict(), "scorers": list(plan.subject.scorers), "cases": len(plan.dataset.cases)}
