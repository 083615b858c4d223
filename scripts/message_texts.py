"""The texts of errors, of lines of the log and of ``doctor``, as the code of the package says them."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_cerebras import exceptions
from airflow_provider_cerebras.polling.outcome import Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PACKAGE = Path(__file__).resolve().parent.parent / "airflow_provider_cerebras"
VALUE_ERRORS = {"InvalidValue", "ValueError", "TypeError", "EnvironmentUnusable"}
# What these become, by the file that raises them. Elsewhere, it is about an argument; what becomes None is repeated
# within another message.
BECOME = {
    "api/client.py": "ConnectionUnusable",
    "api/models.py": None,
    "api/settings.py": "ConnectionUnusable",
    "hooks/connection.py": "ConnectionUnusable",
    "hooks/subclasses.py": None,
    "polling/outcome.py": "UnexpectedTriggerEvent",
    "weights/policy.py": None,
}
LOG_METHODS = {"warning", "error", "exception", "critical"}
TEXTS = ast.Constant | ast.JoinedStr

Names = dict[str, list[ast.expr]]


class Texts(ast.NodeVisitor):
    """The texts of one file. What is filled in stands between the two marks of :func:`filled_in`.

    :ivar errors: of each error.
    :ivar logs: of lines of the log.
    :ivar checks: of what ``doctor`` finds: check, level, text and remedy.
    """

    def __init__(self, file: Path, tree: ast.Module, names: Names) -> None:
        self.errors: dict[str, list[str]] = defaultdict(list)
        self.logs: list[str] = []
        self.checks: list[list[str]] = []
        self._file = file.relative_to(PACKAGE).as_posix()
        self._names, self._local, self._class = names, Names(), ""
        self.visit(tree)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._class = node.name
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        outer, self._local = self._local, assigned(ast.walk(node))
        for each in ast.walk(node) if node.name == "_timeout_message" else ():
            if isinstance(each, ast.Return) and each.value:
                self._add_outcome("TIMEOUT", each.value)
        self.generic_visit(node)
        self._local = outer

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815  ast calls it by this name

    def visit_Call(self, node: ast.Call) -> None:
        of, _, name = ast.unparse(node.func).rpartition(".")
        if name in LOG_METHODS and "log" in of:
            values = [self.text(value) for value in node.args[1:]]
            self.logs.append(re.sub(r"%[-.\d]*[sdrfg]", lambda _: values.pop(0), self.text(node.args[0])))
        elif name == "Line" and self._file.startswith("cli/"):
            self._add_check(node.args)
        elif name == "conclude":
            self._add_outcome("FAILED", *(each.value for each in node.keywords if each.arg == "failed"))
        elif name in {"_outcome", "Outcome"} and len(node.args) > 1:
            self._add_outcome(ast.unparse(node.args[0]).rpartition(".")[2], node.args[1])
        elif node.args:
            name = self._class if name == "__init__" else name
            become = BECOME.get(self._file, "InvalidArgument") if name in VALUE_ERRORS else name
            self.errors[str(become)].append(self.text(node.args[0]))
        self.generic_visit(node)

    def visit_Tuple(self, node: ast.Tuple) -> None:
        if self._file == "cli/airflow_checks.py" and len(node.elts) == 4:
            self._add_check(node.elts)
        self.generic_visit(node)

    def _add_outcome(self, status: str, *nodes: ast.expr) -> None:
        by_status = exceptions.DEPLOYMENT_ERRORS if "deployments" in self._file else exceptions.MODEL_VERSION_ERRORS
        if status in Status.__members__ and Status[status] in by_status:
            error = exceptions.error_of(Outcome(Status[status], "", {}), by_status)
            self.errors[type(error).__name__] += [f"{self.text(node)}{error}" for node in nodes]

    def _add_check(self, nodes: Sequence[ast.expr]) -> None:
        texts = [self.text(node) for node in nodes]
        texts[1] = texts[1].strip("\0\1").removeprefix("Level.").lower()
        if texts[1] != "ok":
            self.checks.append(texts)

    def text(self, node: ast.expr) -> str:
        """The text that an expression is, as far as the code says it."""
        match node:
            case ast.Constant(value=str(value) | int(value) | float(value)):
                return str(value)
            case ast.JoinedStr(values=parts):
                return "".join(map(self.text, parts))
            case ast.FormattedValue(value=ast.Name(id=name) as value) if len(self._local.get(name, ())) == 1:
                return self.text(value)
            case ast.FormattedValue(value=ast.Name(id=name) as value) if name.isupper():
                return self.text(value)
            case ast.FormattedValue(value=value):
                return filled_in(value)
            case ast.Name(id=name) | ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                before = [each for each in self._local.get(name, ()) if each.lineno < node.lineno]
                found = before or self._names.get(name)
                if found and isinstance(found[-1], TEXTS):
                    return self.text(found[-1])
        return filled_in(node)


def filled_in(node: ast.expr) -> str:
    """Mark what the code fills in, by the name of it."""
    return f"\0{name_of(node) or '…'}\1"


def name_of(node: ast.expr) -> str | None:
    """Return the name of what an expression is about: ``digest`` of ``shown(self._digest)``."""
    match node:
        case ast.Name(id="self" | "str"):
            return None
        case ast.Name(id=name):
            return name.lstrip("_")
        case ast.Attribute(value=value, attr="without_hint" | "rstrip" | "join" | "__name__"):
            return name_of(value)
        case ast.Attribute(value=value, attr="id" | "name" as name):
            return ".".join(filter(None, (name_of(value), name)))
        case ast.Attribute(attr=name):
            return name.lstrip("_")
        case ast.Call(func=function, args=arguments):
            return next(filter(None, map(name_of, arguments)), None) or name_of(function)
        case ast.Subscript(value=value) | ast.IfExp(body=value) | ast.BoolOp(values=[value, *_]):
            return name_of(value)
    return None


def assigned(nodes: Iterable[ast.AST]) -> Names:
    """What is assigned to each name, unless something is added to it, and what each function returns, if it is one."""
    found: Names = defaultdict(list)
    added = set()
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id].append(node.value)
        elif isinstance(node, ast.AugAssign):
            added.add(ast.unparse(node.target))
        elif isinstance(node, ast.FunctionDef):
            returned = [each.value for each in ast.walk(node) if isinstance(each, ast.Return) and each.value]
            found[node.name] += returned if len(returned) == 1 else []
    return {name: sorted(values, key=lambda value: value.lineno) for name, values in found.items() if name not in added}


def has_words(text: str) -> bool:
    """Whether a text has words of its own."""
    return bool(re.search(r"[A-Za-z]{2}", re.sub("\0.*?\1", "", text)))


def read_code() -> list[Texts]:
    """The texts of the package, but for those of the emulator."""
    files = sorted(file for file in PACKAGE.rglob("*.py") if "emulator" not in file.parts)
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in files}
    own = {
        file: assigned(node for node in ast.walk(tree) if node in tree.body or isinstance(node, ast.FunctionDef))
        for file, tree in trees.items()
    }
    shared = {name: value for names in own.values() for name, value in names.items() if re.match("[A-Z]", name)}
    return [Texts(file, tree, {**shared, **own[file]}) for file, tree in trees.items()]
