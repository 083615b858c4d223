"""The rooms of the package, read from architecture.toml, and a drawing of them.

Only the standard library is imported, so a test can hold the code to the same file that the drawing is made from.
"""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import inf
from statistics import mean
from textwrap import wrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_WIDTH, _HEIGHT, _GAP, _RISE, _MARGIN = 180, 54, 24, 38, 12

_Point = tuple[str, int]
"""A room, or what leads past a row of them, and the number of the row."""


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
        """The rooms from top to bottom, each below all that see it; one that nobody sees as low as can be."""
        depth = {name: self._depth(name) for name in self.rooms}
        lowest = max(depth.values())
        for room in self.rooms.values():
            if depth[room.name] == 0:
                depth[room.name] = min((depth[seen] - 1 for seen in room.sees), default=lowest)
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
    arrows = [_way(architecture, *arrow) for arrow in architecture.arrows()]
    place = _places(architecture, arrows)
    width = max(x for x, _ in place.values()) + _WIDTH / 2 + _MARGIN
    height = max(y for _, y in place.values()) + _HEIGHT + _MARGIN
    lines = [_arrow([place[point] for point in way]) for way in arrows]
    boxes = [_box(room, *place[name, row]) for name, row, room in _located(architecture)]
    return (
        f'<svg class="rooms" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="The rooms of the package">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z"/></marker></defs>'
        f"{''.join(lines)}{''.join(boxes)}</svg>"
    )


def _located(architecture: Architecture) -> list[tuple[str, int, Room]]:
    return [(name, row, architecture.rooms[name]) for row, names in enumerate(architecture.rows()) for name in names]


def _way(architecture: Architecture, above: str, below: str) -> list[_Point]:
    """The points of an arrow: the two rooms, and a gap of its own in each row between them."""
    row = {name: row for name, row, _ in _located(architecture)}
    gaps = [(f"{above} {below}", each) for each in range(row[above] + 1, row[below])]
    return [(above, row[above]), *gaps, (below, row[below])]


def _places(architecture: Architecture, arrows: Sequence[Sequence[_Point]]) -> dict[_Point, tuple[float, float]]:
    """Where everything is, by the middle of its upper edge; what lies in a row is below what leads to it."""
    points = [(name, row) for name, row, _ in _located(architecture)]
    points += [point for way in arrows for point in way[1:-1]]
    place: dict[_Point, tuple[float, float]] = {}
    for row in range(max(row for _, row in points) + 1):
        leading: dict[_Point, list[float]] = {point: [] for point in points if point[1] == row}
        for way in arrows:
            for upper, lower in pairwise(way):
                if lower in leading:
                    leading[lower].append(place[upper][0])
        right = 0.0
        for point in sorted(leading, key=lambda each: mean(leading[each]) if leading[each] else inf):
            width = _WIDTH if point[0] in architecture.rooms else _GAP
            place[point] = (right + width / 2, _MARGIN + row * (_HEIGHT + _RISE))
            right += width + _GAP
        # In the middle of the page; once more, since the rows below go by it.
        for point in leading:
            place[point] = (place[point][0] - (right - _GAP) / 2, place[point][1])
    left = min(x for x, _ in place.values()) - _WIDTH / 2 - _MARGIN
    return {point: (x - left, y) for point, (x, y) in place.items()}


def _box(room: Room, x: float, y: float) -> str:
    small = wrap(", ".join(room.modules), 34) if room.modules != (room.name,) else []
    top = y + _HEIGHT / 2 + 5 - 7 * len(small)
    words = [f'<text x="{x:g}" y="{top:g}">{escape(room.name)}</text>']
    words += [
        f'<text class="small" x="{x:g}" y="{top + 2 + 13 * number:g}">{escape(line)}</text>'
        for number, line in enumerate(small, start=1)
    ]
    rect = f'<rect x="{x - _WIDTH / 2:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
    return f'<g id="room-{escape(room.name)}">{rect}{"".join(words)}</g>'


def _arrow(places: Sequence[tuple[float, float]]) -> str:
    path = ""
    for (x1, y1), (x2, y2) in pairwise(places):
        bend = y2 - _RISE / 2
        path += f"{'L' if path else 'M'}{x1:g} {y1 + _HEIGHT:g}C{x1:g} {bend:g} {x2:g} {bend:g} {x2:g} {y2:g}"
    return f'<path class="arrow" d="{path}"/>'
