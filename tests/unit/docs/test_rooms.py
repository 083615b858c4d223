"""The drawing of the rooms: what is drawn follows from what is written, and can be read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import rooms

if TYPE_CHECKING:
    from pathlib import Path

HOUSE = """
everybody = ["hall"]
[rooms.attic]
sees = ["study", "stairs", "cellar"]
[rooms.stairs]
sees = ["cellar"]
[rooms.study]
modules = ["study", "library"]
sees = ["kitchen"]
[rooms.kitchen]
sees = ["cellar"]
[rooms.balcony]
sees = ["cellar"]
[rooms.larder]
sees = ["cellar"]
[rooms.shed]
[rooms.cellar]
"""


@pytest.fixture
def house(tmp_path: Path) -> rooms.Architecture:
    file = tmp_path / "house.toml"
    file.write_text(HOUSE, encoding="utf-8")
    return rooms.load(file)


def test_a_module_is_in_the_room_that_names_it(house: rooms.Architecture) -> None:
    assert house.room_of("library.shelf") == "study"
    assert house.room_of("kitchen") == "kitchen"
    assert house.room_of("hall") is None
    with pytest.raises(ValueError, match="garage is in no room"):
        house.room_of("garage")


def test_an_arrow_that_repeats_a_longer_way_is_not_drawn(house: rooms.Architecture) -> None:
    assert ("attic", "cellar") not in house.arrows()
    assert ("attic", "study") in house.arrows()


def test_a_room_lies_below_those_that_see_it_and_not_higher_than_it_must(house: rooms.Architecture) -> None:
    assert house.rows() == [["attic"], ["stairs", "study"], ["kitchen", "balcony", "larder"], ["shed", "cellar"]]


def test_no_room_lies_on_another_and_no_arrow_runs_through_one(house: rooms.Architecture) -> None:
    drawing = rooms.draw(house)
    boxes = [
        tuple(map(float, numbers))
        for numbers in re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="(\d+)" height="(\d+)"', drawing)
    ]
    assert len(boxes) == len(house.rooms)
    for number, (x, y, width, height) in enumerate(boxes):
        for left, top, other_width, other_height in boxes[:number]:
            assert x + width < left or left + other_width < x or y + height < top or top + other_height < y
    # Between two rows an arrow is bent. Past a row it goes straight down, and no room of that row may be there.
    past = [tuple(map(float, point)) for point in re.findall(r"L([\d.]+) ([\d.]+)", drawing)]
    assert past
    for across, down in past:
        assert [box for box in boxes if box[1] + box[3] == down and box[0] <= across <= box[0] + box[2]] == []
