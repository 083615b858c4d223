"""The emulator's time: that of the machine, faster, ahead of it or at a standstill, but never backwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Clock = Callable[[], float]


class BackwardsInTime(Exception):
    """A request would set the clock back; the message names both times."""


@dataclass(frozen=True)
class Anchor:
    """A moment at which both times are known.

    :param real: Unix seconds of the machine's clock.
    :param emulated: Unix seconds of the emulator's.
    :param frozen: Whether the emulator's stands still from then on.
    """

    real: float
    emulated: float
    frozen: bool = False

    def at(self, real: float, scale: float) -> float:
        """The emulator's time at a moment of the machine's.

        :param scale: Emulated seconds in a real one.
        """
        return self.emulated if self.frozen else self.emulated + (real - self.real) * scale


class EmulatedClock:
    """One clock for all that the emulator does.

    :param source: Gives the machine's time in Unix seconds.
    :param scale: Emulated seconds in a real one.
    """

    def __init__(self, source: Clock, scale: float = 1) -> None:
        self._source = source
        self._latest = 0.0
        self.scale = scale
        self.reset()

    def __call__(self) -> float:
        """The time in Unix seconds."""
        # The machine's clock may be set back; what has been seen of this one must not be.
        self._latest = max(self._latest, self._anchor.at(self._source(), self.scale))
        return self._latest

    @property
    def anchor(self) -> Anchor:
        """What tells this clock's time from the machine's from now on."""
        return Anchor(self._source(), self(), self._anchor.frozen)

    @property
    def frozen(self) -> bool:
        """Whether it stands still."""
        return self._anchor.frozen

    def reset(self) -> None:
        """Follow the machine's time again, from what that is now on."""
        real = self._source()
        self._anchor = Anchor(real, real)
        self._latest = real

    def resume(self, anchor: Anchor) -> None:
        """Go on as an earlier clock would have by now, at the scale of this one.

        :param anchor: What the earlier one had.
        """
        self._anchor = anchor
        self._latest = anchor.emulated
        self._anchor = self.anchor

    def move(self, *, to: float | None = None, by: float = 0, frozen: bool | None = None) -> None:
        """Jump ahead, stand still or run on.

        :param to: Unix seconds to jump to; None for the present.
        :param by: Seconds to jump ahead from there.
        :param frozen: Whether to stand still from then on; None for as before.
        """
        real, now = self._source(), self()
        then = (now if to is None else to) + by
        if then < now:
            raise BackwardsInTime(f"Time does not go back: it is {now}, and {then} is before that.")
        self._anchor = Anchor(real, then, self._anchor.frozen if frozen is None else frozen)
