"""Changes of aliases that may be killed at any instant and done again.

The service replaces a version's whole list of aliases at once, and moves nothing: an alias has to leave one version
before another can have it. Both requests may be sent twice, so whoever is killed between them is simply run again.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.errors import BadRequest, CerebrasError, Conflict, NotFound, UnexpectedResponse
from airflow_provider_cerebras.api.names import ModelVersionName, validate_alias
from airflow_provider_cerebras.durable.identity import OWN_ALIAS, refuse_reserved
from airflow_provider_cerebras.exceptions import AliasInUse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_cerebras.api.client import CerebrasClient
    from airflow_provider_cerebras.api.models import ModelVersion
    from airflow_provider_cerebras.polling.log import Log

_MAX_RACES = 5


class AliasChange(NamedTuple):
    """What is to become of a version's aliases.

    :param add: aliases that it shall have as well.
    :param remove: aliases that it shall not have.
    :param replace: all that it shall have; None: see the other two.
    """

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    replace: tuple[str, ...] | None = None

    @classmethod
    def checked(
        cls, *, add: Sequence[str] | None, remove: Sequence[str] | None, replace: Sequence[str] | None
    ) -> AliasChange:
        """Make one of what a user gave.

        :raises ValueError: if it contradicts itself, says nothing, or one of them is no alias or is reserved.
        :raises TypeError: if one of them is a text instead of a list.
        """
        given = {"add": add, "remove": remove, "replace": replace}
        for argument, aliases in given.items():
            if isinstance(aliases, str):
                raise TypeError(f"{argument}: must be a list of aliases, not the text {aliases!r}.")
            for alias in aliases or ():
                validate_alias(alias, argument)
            if argument != "remove":
                refuse_reserved(aliases or (), argument)
        if replace is not None and (add or remove):
            raise ValueError("replace: excludes add and remove.")
        if replace is None and not add and not remove:
            raise ValueError("add, remove, replace: one of them must be given.")
        both = set(add or ()) & set(remove or ())
        if both:
            raise ValueError(f"add, remove: {min(both)!r} cannot be in both.")
        return cls(tuple(add or ()), tuple(remove or ()), None if replace is None else tuple(replace))

    def apply(self, aliases: Sequence[str]) -> list[str]:
        """Return the aliases that a version shall have.

        :param aliases: those that it has. The ones that this package has put there stay, unless they are named in
            ``remove``.
        """
        if self.replace is not None:
            kept = [alias for alias in aliases if OWN_ALIAS.fullmatch(alias)]
            return list(dict.fromkeys((*kept, *self.replace)))
        return [alias for alias in dict.fromkeys((*aliases, *self.add)) if alias not in self.remove]


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


def change_aliases(
    client: CerebrasClient, model_version: str, change: AliasChange, *, log: Log
) -> tuple[str, list[str]]:
    """Change the aliases of a version, and look what the service holds afterwards.

    :param client: whom to talk to.
    :param model_version: full name, by number or alias.
    :param change: what is to become of them.
    :param log: where it says what it did.
    :return: full name of the version, by number, and the user's aliases of it.
    :raises AliasInUse: if another version holds one that this one shall have.
    :raises CerebrasError: if a request failed.
    """
    version = client.send(operations.get_model_version(model_version))
    wanted = change.apply(version.details.version_aliases)
    if set(wanted) != set(version.details.version_aliases):
        name = ModelVersionName.parse(version.name)
        for alias in wanted:
            holder = (
                None
                if alias in version.details.version_aliases
                else find_version(client, str(name.with_version_id(alias)))
            )
            if holder is not None and holder.name != version.name:
                raise AliasInUse(
                    f"Alias {alias!r} is held by {holder.name}, and an alias belongs to one version only. Nothing was "
                    "changed. CerebrasPromoteModelVersionOperator moves it."
                )
        client.send(operations.update_model_version_aliases(version.name, wanted))
        held = client.send(operations.get_model_version(version.name)).details.version_aliases
        if set(held) != set(wanted):
            raise UnexpectedResponse(f"Model version {version.name} was given the aliases {wanted}, but has {held}.")
    aliases = [alias for alias in wanted if not OWN_ALIAS.fullmatch(alias)]
    log.info("Model version %s has the aliases %s.", version.name, ", ".join(aliases) or "none")
    return version.name, aliases
