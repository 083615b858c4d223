"""A subclass of the hook in place of the hook: made on a worker, named to the triggerer by its path, found there."""

from __future__ import annotations

import sys
from importlib import import_module

from airflow_provider_cerebras.exceptions import InvalidArgument
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook

# Airflow imports the file of a DAG under a name that begins so, in the processes that parse or run it only.
_OF_DAG_FILES = ("unusual_prefix_", "__main__")


def hook_path(hook_class: type[CerebrasHook]) -> str | None:
    """Return the path by which a trigger finds a hook, ``module:name``; None for the hook that it takes by itself.

    :param hook_class: the class.
    :raises InvalidArgument: if the triggerer could not import it.
    """
    if hook_class is CerebrasHook:
        return None
    module, name = hook_class.__module__, hook_class.__qualname__
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not hook_class or module.startswith(_OF_DAG_FILES):
        raise InvalidArgument(
            f"hook_class: {module}.{name} cannot be imported by the triggerer. Define it at the top level of a module "
            "that is installed there too, or set deferrable=False."
        )
    return f"{module}:{name}"


def load_hook_class(path: str | None) -> type[CerebrasHook]:
    """Find a hook by its path.

    :param path: what :func:`hook_path` returned; None: the hook itself.
    :raises ImportError: if the module or the class does not exist.
    :raises TypeError: if it is no hook of this provider.
    """
    if path is None:
        return CerebrasHook
    module, _, name = path.partition(":")
    found: object = import_module(module)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise ImportError(f"There is no {name} in {module}.") from error
    if not (isinstance(found, type) and issubclass(found, CerebrasHook)):
        raise TypeError(f"{path} is not a subclass of CerebrasHook.")
    return found
