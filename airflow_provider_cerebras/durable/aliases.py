"""Changes of aliases that may be killed at any instant and done again.

The service moves nothing: an alias has to leave one version before another can have it. Both requests may be sent
twice, so an attempt that is killed between them is simply run again. How a list is written is in :mod:`.alias_lists`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.errors import BadRequest, CerebrasError, Conflict, NotFound
from airflow_provider_cerebras.api.evidence import held_aliases, numbered_name
from airflow_provider_cerebras.api.names import ModelVersionName, validate_alias
from airflow_provider_cerebras.durable.alias_lists import READ_LAG, AliasEditor
from airflow_provider_cerebras.durable.identity import is_own, refuse_reserved
from airflow_provider_cerebras.exceptions import AliasesUnsettled, AliasInUse, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from airflow_provider_cerebras.api.client import CerebrasClient
    from airflow_provider_cerebras.api.models import ModelVersion
    from airflow_provider_cerebras.polling.log import Log

_MAX_MOVES = 5


class AliasChange(NamedTuple):
    """A change of a version's aliases.

    :param add: aliases to add to its own.
    :param remove: aliases to take from it.
    :param replace: all that it is to have; None: see the other two.
    """

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    replace: tuple[str, ...] | None = None

    @classmethod
    def checked(
        cls, *, add: Sequence[str] | None, remove: Sequence[str] | None, replace: Sequence[str] | None
    ) -> AliasChange:
        """Make one of what a user gave.

        :raises InvalidArgument: if it contradicts itself, says nothing, or one of them is no alias or is reserved.
        """
        given = {"add": add, "remove": remove, "replace": replace}
        for argument, aliases in given.items():
            if isinstance(aliases, str):
                raise InvalidArgument(f"{argument}: must be a list of aliases, not the text {aliases!r}.")
            for alias in aliases or ():
                validate_alias(alias, argument)
            if argument != "remove":
                refuse_reserved(aliases or (), argument)
        if replace is not None and (add or remove):
            raise InvalidArgument("replace: excludes add and remove.")
        if replace is None and not add and not remove:
            raise InvalidArgument("add, remove, replace: one of them must be given.")
        both = set(add or ()) & set(remove or ())
        if both:
            raise InvalidArgument(f"add, remove: {min(both)!r} cannot be in both.")
        return cls(tuple(add or ()), tuple(remove or ()), None if replace is None else tuple(replace))

    def apply(self, aliases: Sequence[str]) -> list[str]:
        """Return the aliases that a version is to have.

        :param aliases: those that it has. The ones that this package has put there stay, unless they are named in
            ``remove``.
        """
        if self.replace is not None:
            kept = [alias for alias in aliases if is_own(alias)]
            return list(dict.fromkeys((*kept, *self.replace)))
        return [alias for alias in dict.fromkeys((*aliases, *self.add)) if alias not in self.remove]


def find_version(client: CerebrasClient, model_version: str) -> ModelVersion | None:
    """Return a version, or None if the API says that there is none.

    :param client: the client to send with.
    :param model_version: full name, by number or alias.
    :raises NotFound: if a 404 is not from the API, which says nothing about the version.
    """
    try:
        return client.send(operations.get_model_version(model_version))
    except NotFound as error:
        if not error.is_from_api:
            raise
        return None


def move_alias(
    editor: AliasEditor,
    alias: str,
    *,
    holder: str,
    target: str,
    is_superseded: Callable[[], bool] = lambda: False,
) -> None:
    """Take an alias from its holder and give it to another version; if that fails, put it back.

    For the time between two requests no version has it.

    :param editor: makes the changes.
    :param alias: the alias.
    :param holder: full name, by number, of the version that has it.
    :param target: full name, by number, of the version that is to have it. Its own aliases are known to be readable.
    :param is_superseded: see :meth:`AliasEditor.change`.
    :raises CerebrasError: if a request failed.
    """
    try:
        editor.change(holder, remove=[alias], settle=False)
    except NotFound as error:  # it was deleted since, which has freed the alias
        if not error.is_from_api:
            raise
    try:
        editor.change(target, add=[alias], is_superseded=is_superseded)
    except (CerebrasError, AliasesUnsettled) as error:
        try:
            editor.change(holder, add=[alias], settle=False)
        except (CerebrasError, AliasesUnsettled) as second:
            error.add_note(f"Alias {alias!r} could not be put back to {holder} either: {second}")
        raise


def promote(
    client: CerebrasClient,
    model_version: str,
    alias: str,
    *,
    log: Log,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Bring about that a version has an alias, whichever version has it now.

    If another task moves the alias on to a third version meanwhile, it stays there.

    :param client: the client to send with.
    :param model_version: full name of the version that is to have it, by number or alias.
    :param alias: the alias.
    :param log: logger for its actions.
    :param sleep: spends the seconds of a pause.
    :param clock: a clock that only goes forward, in seconds.
    :return: full name of the version, by number.
    :raises UnexpectedResponse: if a response leaves open which version it is about or which aliases it has; nothing was
        sent then.
    :raises AliasesUnsettled: if the change did not show, or did not stay in place.
    :raises CerebrasError: if a request failed; the alias is then where it was, or the error says where not.
    """
    # Resolved once: an alias that moves must not change what is promoted.
    version = client.send(operations.get_model_version(model_version))
    name = numbered_name(version)
    by_alias = str(name.with_version_id(alias))
    editor = AliasEditor(client, log=log, sleep=sleep, clock=clock)
    moves, waited = 0, 0.0
    attempt = 0
    while alias not in held_aliases(version):
        attempt += 1
        holder = _holder(client, by_alias)
        began = clock()

        def is_superseded(before: str | None = holder) -> bool:
            # The holder before may be what a read that lags behind shows.
            now = _holder(client, by_alias)
            if now in {None, before, str(name)}:
                return False
            log.warning("Alias %s was set on %s, and has been moved on to %s since.", alias, name, now)
            return True

        try:
            if holder in {None, str(name)}:
                editor.change(str(name), add=[alias], is_superseded=is_superseded)
            else:
                moves += 1
                move_alias(editor, alias, holder=str(holder), target=str(name), is_superseded=is_superseded)
                log.info(
                    "Moved alias %s from %s; no version had it for %.3f s at the most.",
                    alias,
                    holder,
                    editor.written_at - began,
                )
            break
        except (BadRequest, Conflict):
            # Another version may have got it in between, or have it although a read by alias does not show it yet. The
            # status for that is not documented.
            if moves == _MAX_MOVES or waited >= READ_LAG:
                raise
            waited += editor.pause(attempt)
            version = client.send(operations.get_model_version(str(name)))
    log.info("Model version %s has the alias %s.", name, alias)
    return str(name)


def change_aliases(
    client: CerebrasClient,
    model_version: str,
    change: AliasChange,
    *,
    log: Log,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[str, list[str]]:
    """Change the aliases of a version. Those that others add or remove meanwhile stay as others want them.

    :param client: the client to send with.
    :param model_version: full name, by number or alias.
    :param change: makes the new list from the old one.
    :param log: logger for its actions.
    :param sleep: spends the seconds of a pause.
    :param clock: a clock that only goes forward, in seconds.
    :return: full name of the version, by number, and the user's aliases of it.
    :raises AliasInUse: if another version holds one that this one is to have.
    :raises UnexpectedResponse: if a response leaves open which version it is about or which aliases it has; nothing was
        sent then.
    :raises AliasesUnsettled: if the change did not show, or did not stay in place.
    :raises CerebrasError: if a request failed.
    """
    version = client.send(operations.get_model_version(model_version))
    name = numbered_name(version)
    held = held_aliases(version)
    wanted = change.apply(held)
    add = [alias for alias in wanted if alias not in held]
    remove = [alias for alias in held if alias not in wanted]
    if add or remove:
        _check_free(client, name, add, "Nothing was changed.")
        editor = AliasEditor(client, log=log, sleep=sleep, clock=clock)
        try:
            held = editor.change(str(name), add=add, remove=remove)
        except (BadRequest, Conflict):
            _check_free(client, name, add, f"The service refused the change; check which aliases {name} has now.")
            raise
    aliases = [alias for alias in held if not is_own(alias)]
    log.info("Model version %s has the aliases %s.", name, ", ".join(aliases) or "none")
    return str(name), aliases


def _check_free(client: CerebrasClient, name: ModelVersionName, aliases: Iterable[str], done: str) -> None:
    for alias in aliases:
        holder = _holder(client, str(name.with_version_id(alias)))
        if holder not in {None, str(name)}:
            raise AliasInUse(
                f"Alias {alias!r} is held by {holder}, and an alias belongs to one version only. {done} "
                "CerebrasPromoteModelVersionOperator moves it."
            )


def _holder(client: CerebrasClient, by_alias: str) -> str | None:
    """Full name, by number, of the version that an alias stands for; None if the API says that there is none."""
    version = find_version(client, by_alias)
    return None if version is None else str(numbered_name(version))
