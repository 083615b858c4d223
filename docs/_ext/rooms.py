"""The rooms of the package, read from architecture.toml, and a drawing of them.

Only the standard library is imported, so a test can hold the code to the same file that the drawing is made from.
"""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_WIDTH, _HEIGHT, _GAP, _RISE, _MARGIN = 210, 46, 26, 40, 12


@dataclass(frozen=True)
class Room:
    """A part of the package.

    :param name: what it is called.
    :param modules: the modules and packages, directly below the package, that it is made of.
    :param sees: the rooms that its modules import from.
    """

    name: str
    modules: tuple[str, ...]
    sees: tuple[str, ...]


@dataclass(frozen=True)
class Architecture:
    """All rooms by name, from the top of the house to its bottom, and the modules that everybody may import."""

    rooms: Mapping[str, Room]
    everybody: frozenset[str]

    def room_of(self, module: str) -> str | None:
        """Name of the room that a module is in; None: everybody's.

        :param module: path from the package on, with dots.
        :raises ValueError: if it is in no room.
        """
        top = module.split(".")[0]
        if top in self.everybody:
            return None
        for room in self.rooms.values():
            if top in room.modules:
                return room.name
        raise ValueError(f"{top} is in no room of architecture.toml.")

    def arrows(self) -> list[tuple[str, str]]:
        """What sees what, without the arrows that only repeat a way by way of others."""
        return [
            (room.name, seen)
            for room in self.rooms.values()
            for seen in room.sees
            if not any(seen in self._reached(other) for other in room.sees if other != seen)
        ]

    def _reached(self, name: str) -> set[str]:
        return {name}.union(*map(self._reached, self.rooms[name].sees))

    def rows(self) -> list[list[str]]:
        """The rooms from top to bottom, each below all that see it; those that nobody sees and that see nobody last."""
        depth = {name: self._depth(name) for name in self.rooms}
        lowest = max(depth.values())
        for room in self.rooms.values():
            if depth[room.name] == 0 and not room.sees:
                depth[room.name] = lowest
        return [[name for name in self.rooms if depth[name] == row] for row in range(lowest + 1)]

    def _depth(self, name: str) -> int:
        return max((self._depth(room.name) + 1 for room in self.rooms.values() if name in room.sees), default=0)


def load(file: Path) -> Architecture:
    """Read the file.

    :param file: architecture.toml.
    """
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    rooms = {
        name: Room(name, tuple(room.get("modules", [name])), tuple(room.get("sees", [])))
        for name, room in content["rooms"].items()
    }
    return Architecture(rooms, frozenset(content["everybody"]))


def purpose(package: Path, module: str) -> str:
    """First sentence of a module's docstring.

    :param package: folder of the package.
    :param module: name of a module or package in it.
    """
    file = package / f"{module}.py"
    source = file if file.exists() else package / module / "__init__.py"
    docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def table(architecture: Architecture, package: Path) -> str:
    """Say in Markdown what each room is for.

    :param architecture: the rooms.
    :param package: folder of the package.
    """
    lines = ["| room | module | what for |", "|---|---|---|"]
    for room in architecture.rooms.values():
        for number, module in enumerate(room.modules):
            name = f"**{room.name}**" if number == 0 else ""
            path = f"{module}/" if (package / module).is_dir() else f"{module}.py"
            lines.append(f"| {name} | `{path}` | {purpose(package, module)} |")
    return "\n".join(lines)


def draw(architecture: Architecture) -> str:
    """Draw the rooms as SVG, those above that see the ones below. Colours are the page's, be it light or dark.

    :param architecture: the rooms.
    """
    rows = architecture.rows()
    width = max(len(row) * (_WIDTH + _GAP) - _GAP for row in rows) + 2 * _MARGIN
    height = len(rows) * (_HEIGHT + _RISE) - _RISE + 2 * _MARGIN
    place: dict[str, tuple[float, float]] = {}
    for number, row in enumerate(rows):
        left = (width - (len(row) * (_WIDTH + _GAP) - _GAP)) / 2
        for column, name in enumerate(row):
            place[name] = (left + column * (_WIDTH + _GAP), _MARGIN + number * (_HEIGHT + _RISE))
    boxes = [_box(architecture.rooms[name], *place[name]) for name in architecture.rooms]
    lines = [_arrow(place[above], place[below]) for above, below in architecture.arrows()]
    return (
        f'<svg class="rooms" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="The rooms of the package">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z"/></marker></defs>'
        f"{''.join(lines)}{''.join(boxes)}</svg>"
    )


def _box(room: Room, x: float, y: float) -> str:
    middle = x + _WIDTH / 2
    small = ", ".join(room.modules) if room.modules != (room.name,) else ""
    name_y = y + (_HEIGHT / 2 - 3 if small else _HEIGHT / 2 + 5)
    return (
        f'<g id="room-{escape(room.name)}"><rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
        f'<text x="{middle:g}" y="{name_y:g}">{escape(room.name)}</text>'
        + (f'<text class="small" x="{middle:g}" y="{y + _HEIGHT - 9:g}">{escape(small)}</text>' if small else "")
        + "</g>"
    )


def _arrow(above: tuple[float, float], below: tuple[float, float]) -> str:
    x1, y1 = above[0] + _WIDTH / 2, above[1] + _HEIGHT
    x2, y2 = below[0] + _WIDTH / 2, below[1]
    # Straight down past the rows between, and only then aside.
    turn, bend = y2 - _RISE, y2 - _RISE / 2
    return f'<path class="arrow" d="M{x1:g} {y1:g}V{turn:g}C{x1:g} {bend:g} {x2:g} {bend:g} {x2:g} {y2:g}"/>'
