"""A mixin that reads the arguments by the table of a class before a task begins, and derives its template fields.

A class of operators or sensors declares what its arguments are::

    class CerebrasPromoteModelVersionOperator(CerebrasOperator):
        arguments = takes(model_version=MODEL_VERSION, alias=ALIAS)

and gets the arguments of its base classes as well. From the table follow

* ``template_fields``: every argument that is templated, unless the class says otherwise;
* that templates and the results of other tasks in other arguments are refused when the DAG is parsed;
* that ``execute``, and what goes on after a deferral, find each attribute read as its type. A wrong value fails the
  task at once, before anything is sent, with the argument's name.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_cerebras.api.names import InvalidValue
from airflow_provider_cerebras.arguments.kinds import takes
from airflow_provider_cerebras.assets.reporting import leave_error
from airflow_provider_cerebras.exceptions import InvalidArgument
from airflow_provider_cerebras.links.base import persist_links
from airflow_provider_cerebras.traces import set_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cerebras.arguments.kinds import Arguments


_MARK = "\0"


class DeclaresArguments:
    """Mixed into operators and sensors, before Airflow's base class."""

    arguments: ClassVar[Arguments] = takes()
    """The type of each argument. A class declares its own; those of its base classes are added."""
    template_fields: Any
    log: Any
    ui_color: ClassVar[str] = "#fbe4d8"
    """The colour of the tasks in Airflow's graph."""
    leaves_error = False
    """Whether the words of an error are left for the task that concludes a release."""
    _renders_text = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        inherited = [vars(base).get("arguments", {}) for base in reversed(cls.__mro__[1:])]
        cls.arguments = functools.reduce(lambda found, more: {**found, **more}, [*inherited, own.get("arguments", {})])
        if "template_fields" not in own and "arguments" in own:
            cls.template_fields = tuple(name for name, kind in cls.arguments.items() if kind.templated)
        if "__init__" in own:
            cls.__init__ = _refusing(own["__init__"])  # type: ignore[method-assign]
        if "execute" in own:
            cls.execute = _reading(own["execute"])  # type: ignore[attr-defined]

    def pre_execute(self, context: Any) -> None:
        """Read the arguments; Airflow calls this before a task begins and before it goes on after a deferral.

        The links are stored here, so that a task has them whatever happens next.
        """
        try:
            super().pre_execute(context)  # type: ignore[misc]
            with leave_error(self, context):
                self.read_arguments()
        finally:
            persist_links(self, context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral; Airflow calls this."""
        with leave_error(self, context):
            return super().resume_execution(next_method, next_kwargs, context)  # type: ignore[misc]

    def read_arguments(self) -> None:
        """Read each argument as its type, from what was rendered.

        :raises InvalidArgument: if one is wrong; the message begins with its name.
        """
        for name, kind in self.arguments.items():
            try:
                value = kind.value(getattr(self, name), name)
            except (ValueError, TypeError) as error:
                raise InvalidArgument(str(error)) from None
            setattr(self, name, value)
        set_arguments(self)

    def _wait_here_if_nested(self, context: Context) -> None:
        """Do not defer inside a task of another kind, such as a ``@task`` function: it could not go on afterwards."""
        outer = context.get("task")
        if getattr(self, "deferrable", False) and not (
            outer is None or isinstance(outer, DeclaresArguments) or hasattr(outer, "execute_complete")
        ):
            self.log.warning(
                "%s is called inside the task %s, which it cannot defer, so it waits here and holds the worker slot. "
                "Make it a task of its own to defer it.",
                type(self).__name__,
                getattr(outer, "task_id", outer),
            )
            self.deferrable = False

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Context, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        """Render text as text, whatever the DAG says of native rendering, and do not call what is a function."""
        render: Any = super()._do_render_template_fields  # type: ignore[misc]
        if parent is not self:
            render(parent, template_fields, context, jinja_env, seen_oids)
            return
        fields = [name for name in template_fields if not callable(getattr(self, name, None))]
        text = {name for name in fields if name in self.arguments and self.arguments[name].text}
        self._renders_text = True
        try:
            render(self, [name for name in fields if name in text], context, jinja_env, seen_oids)
        finally:
            self._renders_text = False
        render(self, [name for name in fields if name not in text], context, jinja_env, seen_oids)
        for name in fields:
            _refuse_what_is_not_finite(getattr(self, name), name)

    def _render(self, template: Any, context: Any, dag: Any = None) -> Any:
        if not self._renders_text:
            return super()._render(template, context, dag)  # type: ignore[misc]
        template.root_render_func = _marking(template.root_render_func)
        rendered = super()._render(template, context, dag)  # type: ignore[misc]
        return rendered.removeprefix(_MARK) if isinstance(rendered, str) else rendered


def _marking(render: Callable[[Any], Iterable[Any]]) -> Callable[[Any], Iterable[Any]]:
    """Put a character in front of a text that no literal of Python has, for native rendering reads text as a literal.

    It makes a number of ``2024_01_31``. What is no text, such as None or a path, is given as it is.
    """

    def marked(context: Any) -> Iterable[Any]:
        nodes = list(render(context))
        if len(nodes) > 1 or (nodes and isinstance(nodes[0], str)):
            yield _MARK + "".join(map(str, nodes))
        else:
            yield from nodes

    return marked


def _refusing(function: Callable[..., None]) -> Callable[..., None]:
    """``__init__`` that refuses templates where none are rendered."""

    @functools.wraps(function)
    def __init__(self: DeclaresArguments, **kwargs: Any) -> None:  # noqa: N807  it takes the place of one
        for name, value in kwargs.items():
            if name in self.arguments:
                kind = self.arguments[name]
                if not kind.templated and _is_template(value):
                    raise InvalidArgument(f"{name}: takes {kind.takes}, and neither a template nor a task's result.")
                _refuse_what_is_not_finite(value, name)
                if isinstance(value, set | frozenset):
                    # The order of a set differs between processes, and with it the serialized DAG.
                    kwargs[name] = sorted(value, key=str)
        function(self, **kwargs)
        functions = {name for name, value in kwargs.items() if name in self.arguments and callable(value)}
        if functions & set(self.template_fields):
            # Airflow 2 stores a template field that is a function by its address, which is another one each time.
            self.template_fields = [name for name in self.template_fields if name not in functions]

    return __init__


def _reading(function: Callable[..., Any]) -> Callable[..., Any]:
    """``execute`` that finds its arguments read, also where Airflow has not called ``pre_execute``."""

    @functools.wraps(function)
    def execute(self: DeclaresArguments, context: Context, **kwargs: Any) -> Any:
        with leave_error(self, context):
            self.read_arguments()
            self._wait_here_if_nested(context)
            try:
                return function(self, context, **kwargs)
            except InvalidValue as error:
                # Arguments that are right one by one, and wrong together.
                raise InvalidArgument(str(error)) from error

    return execute


def _refuse_what_is_not_finite(value: object, argument: str) -> None:
    """Refuse what Airflow cannot show under "Rendered Template", where it fails with words of its own, and retries."""
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidArgument(f"{argument}: must be a finite number, not {value}.")


def _is_template(value: object) -> bool:
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    return callable(getattr(value, "iter_references", None)) and not isinstance(value, type)
