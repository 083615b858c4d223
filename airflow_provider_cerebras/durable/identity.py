"""The identity of a task run: an alias that differs from that of every other task run."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_cerebras.exceptions import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow.providers.common.compat.sdk import Context

OWN_ALIAS = re.compile(r"airflow-([0-9a-f]{40})-([0-9]+)(?:-([0-9]+))?")
"""The aliases that this package makes: base, generation, and in a claim the attempt."""
_RESERVED = re.compile(r"airflow-[0-9a-f]{40}-.*")
_WEIGHTS = re.compile(r"weights-[0-9a-f]{40}")


def is_own(alias: str) -> bool:
    """Return whether an alias is one that this package makes.

    :param alias: the alias.
    """
    return bool(OWN_ALIAS.fullmatch(alias) or _WEIGHTS.fullmatch(alias))


def weights_alias(weights_digest: str, system_fingerprint_suffix: str | None) -> str:
    """Make the alias by which a version of the same weights is found, no matter which task uploaded it.

    :param weights_digest: digest of the weights.
    :param system_fingerprint_suffix: as given in the upload; another one makes another version.
    """
    text = json.dumps([weights_digest, system_fingerprint_suffix or ""])
    return f"weights-{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def refuse_reserved(aliases: Iterable[str], argument: str) -> None:
    """Keep users from giving a version an alias by which a task run would take it for its own.

    :param aliases: aliases as given by the user.
    :param argument: the name of the argument that they came in, for the message.
    :raises InvalidArgument: if one of them has the form that this package keeps for itself.
    """
    for alias in aliases:
        if _RESERVED.fullmatch(alias):
            raise InvalidArgument(
                f"{argument}: {alias!r} is reserved. A task run finds its own model version by an alias of this form "
                "(airflow-<40 hexadecimal digits>-...), so no other alias may have this form."
            )
        if _WEIGHTS.fullmatch(alias):
            raise InvalidArgument(
                f"{argument}: {alias!r} is reserved. skip_unchanged finds a model version of the same weights by an "
                "alias of this form (weights-<40 hexadecimal digits>), so no other alias may have this form."
            )


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of what a task run makes or chooses.

    The number of the attempt is not part of it, so a retry has the identity of the first attempt. The generation is:
    it moves when a user clears the task, because the weights behind an unchanged URI may have changed since, and to
    serve stale ones silently is worse than to have a second version.

    :param base: 40 hexadecimal digits that stand for the task run and what it uploads.
    :param generation: moves with each clear; Airflow's ``max_tries`` unless that repeats itself: :mod:`.generations`.
    :param attempt: number of the attempt.
    """

    base: str
    generation: int
    attempt: int

    @property
    def alias(self) -> str:
        """The identity alias: all attempts of a generation find their version by it."""
        return f"airflow-{self.base}-{self.generation}"

    @property
    def claim(self) -> str:
        """The alias by which this attempt says that the version is now its own; see :mod:`.on_kill`."""
        return f"{self.alias}-{self.attempt}"

    @property
    def retired(self) -> str:
        """The alias of a version that was this generation's until a user cleared the task; see :mod:`.uploads`."""
        return f"{self.alias}-0"

    def owns(self, alias: str) -> bool:
        """Return whether an alias is the identity or a claim of this generation."""
        return alias == self.alias or alias.startswith(f"{self.alias}-")

    def claimants(self, aliases: Sequence[str]) -> list[int]:
        """Numbers of the attempts of this generation that have claimed a version with these aliases."""
        matches = filter(None, map(OWN_ALIAS.fullmatch, filter(self.owns, aliases)))
        return [int(match[3]) for match in matches if match[3]]

    def generations(self, aliases: Sequence[str]) -> list[int]:
        """Generations of this task run that a version with these aliases belongs to."""
        matches = filter(None, map(OWN_ALIAS.fullmatch, aliases))
        return [int(match[2]) for match in matches if match[1] == self.base]


def identify(
    context: Context,
    *,
    org_name: str,
    model_arch_id: str,
    weight_uri: str,
    system_fingerprint_suffix: str | None,
    weights_digest: str | None = None,
) -> Identity:
    """Make the identity of the running task's upload.

    :param context: the task's context.
    :param org_name: name of the organization.
    :param model_arch_id: id of the architecture.
    :param weight_uri: where the weights lie.
    :param system_fingerprint_suffix: as given in the upload.
    :param weights_digest: digest of the weights, so that no attempt adopts a version of other ones; None: not known.
    """
    digest = [] if weights_digest is None else [weights_digest]
    return _identity(context, [org_name, model_arch_id], [weight_uri, system_fingerprint_suffix or "", *digest])


def identify_deployment(context: Context, endpoint_id: str, model_version: str) -> Identity:
    """Make the identity of the running task's deployment.

    :param context: the task's context.
    :param endpoint_id: id of the endpoint.
    :param model_version: full name of the version, as given by the user.
    """
    return _identity(context, ["deployment"], [endpoint_id, model_version])


def identify_rollback(context: Context, endpoint_id: str) -> Identity:
    """Make the identity of the running task's rollback.

    :param context: the task's context.
    :param endpoint_id: id of the endpoint.
    """
    return _identity(context, ["rollback"], [endpoint_id])


def identify_evaluation(context: Context, *subject: str) -> Identity:
    """Make the identity of the running task's evaluation.

    :param context: the task's context.
    :param subject: the evaluated thing and its inputs.
    """
    return _identity(context, ["evaluation"], list(subject))


def _identity(context: Context, before: list[str], after: list[str]) -> Identity:
    ti: Any = context["ti"]
    namespace = conf.get("cerebras", "idempotency_namespace", fallback="")
    parts = [namespace, *before, ti.dag_id, ti.run_id, ti.task_id, ti.map_index, *after]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return Identity(base=digest[:40], generation=int(ti.max_tries), attempt=int(ti.try_number))
