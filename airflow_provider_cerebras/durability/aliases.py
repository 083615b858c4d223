"""Changes of aliases that may be killed at any instant and done again.

The service replaces a version's whole list of aliases at once, and moves nothing: an alias has to leave one version
before another can have it. Both requests may be sent twice, so whoever is killed between them is simply run again.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.errors import BadRequest, CerebrasError, Conflict, NotFound
from airflow_provider_cerebras.api.names import ModelVersionName

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_cerebras.api.client import CerebrasClient
    from airflow_provider_cerebras.api.models import ModelVersion
    from airflow_provider_cerebras.waiting import Log

_MAX_RACES = 5


def find_version(client: CerebrasClient, model_version: str) -> ModelVersion | None:
    """Return a version, or None if there is none.

    :param client: whom to talk to.
    :param model_version: full name, by number or alias.
    """
    try:
        return client.send(operations.get_model_version(model_version))
    except NotFound:
        return None


def without(version: ModelVersion, *aliases: str) -> tuple[str, ...]:
    """The aliases of a version but for these."""
    return tuple(alias for alias in version.details.version_aliases if alias not in aliases)


def set_aliases(client: CerebrasClient, model_version: str, aliases: Sequence[str]) -> None:
    """Replace the aliases of a version; one that was deleted in between has freed them as well.

    :param client: whom to talk to.
    :param model_version: full name, by number.
    :param aliases: all that it shall have.
    """
    with suppress(NotFound):
        client.send(operations.update_model_version_aliases(model_version, aliases))


def move_alias(client: CerebrasClient, alias: str, *, holder: ModelVersion, target: ModelVersion) -> None:
    """Take an alias from its holder and give it to another version; if that fails, put it back.

    For the time between two requests nobody holds it.

    :param client: whom to talk to.
    :param alias: the alias.
    :param holder: who has it.
    :param target: who shall have it.
    :raises CerebrasError: if a request failed.
    """
    kept = without(holder, alias)
    set_aliases(client, holder.name, kept)
    try:
        client.send(operations.update_model_version_aliases(target.name, (*without(target, alias), alias)))
    except CerebrasError as error:
        try:
            set_aliases(client, holder.name, (*kept, alias))
        except CerebrasError as second:
            error.add_note(f"Alias {alias!r} could not be put back to {holder.name} either: {second}")
        raise


def promote(
    client: CerebrasClient, model_version: str, alias: str, *, log: Log, clock: Callable[[], float] = time.monotonic
) -> str:
    """Bring about that a version has an alias, whoever has it now.

    :param client: whom to talk to.
    :param model_version: full name of the version that shall have it, by number or alias.
    :param alias: the alias.
    :param log: where it says what it did.
    :param clock: a clock that only goes forward, in seconds.
    :return: full name of the version, by number.
    :raises CerebrasError: if a request failed; the alias is then where it was, or the error says where not.
    """
    name = ModelVersionName.parse(model_version)
    for races in range(1, _MAX_RACES + 1):
        target = client.send(operations.get_model_version(model_version))
        holder = find_version(client, str(name.with_version_id(alias)))
        if holder is not None and holder.name == target.name:
            log.info("Model version %s has the alias %s.", target.name, alias)
            return target.name
        began = clock()
        try:
            if holder is None:
                client.send(operations.update_model_version_aliases(target.name, (*without(target, alias), alias)))
            else:
                move_alias(client, alias, holder=holder, target=target)
                log.info(
                    "Moved alias %s from %s; nobody had it for %.3f s at the most.", alias, holder.name, clock() - began
                )
        except (BadRequest, Conflict):
            # Somebody else may have taken it in between, for which the status is not documented.
            if races == _MAX_RACES:
                raise
    raise AssertionError("the last race is either won or raises")
