"""The emulator's time: the machine's time, or faster, ahead of it or stopped, but never backwards."""

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
    """A moment at which both the machine's and the emulator's times are known.

    :param real: Unix seconds of the machine's clock.
    :param emulated: Unix seconds of the emulator's.
    :param frozen: Whether the emulator's clock is stopped from then on.
    """

    real: float
    emulated: float
    frozen: bool = False

    def at(self, real: float, scale: float) -> float:
        """Return the emulator's time at a moment of the machine's.

        :param scale: Emulated seconds in a real one.
        """
        return self.emulated if self.frozen else self.emulated + (real - self.real) * scale


class EmulatedClock:
    """The one clock of the emulator.

    :param source: Gives the machine's time in Unix seconds.
    :param scale: Emulated seconds in a real one.
    """

    def __init__(self, source: Clock, scale: float = 1) -> None:
        self._source = source
        self._latest = 0.0
        self.scale = scale
        self.reset()

    def __call__(self) -> float:
        """Return the time in Unix seconds."""
        # The machine's clock may be set back; what has been seen of this one must not be.
        self._latest = max(self._latest, self._anchor.at(self._source(), self.scale))
        return self._latest

    @property
    def anchor(self) -> Anchor:
        """The anchor that relates this clock to the machine's from now on."""
        return Anchor(self._source(), self(), self._anchor.frozen)

    @property
    def frozen(self) -> bool:
        """Whether it is stopped."""
        return self._anchor.frozen

    def reset(self) -> None:
        """Follow the machine's time again."""
        real = self._source()
        self._anchor = Anchor(real, real)
        self._latest = real

    def resume(self, anchor: Anchor) -> None:
        """Continue an earlier clock, at the scale of this one.

        :param anchor: The anchor of the earlier clock.
        """
        self._anchor = anchor
        self._latest = anchor.emulated
        self._anchor = self.anchor

    def move(self, *, to: float | None = None, by: float = 0, frozen: bool | None = None) -> None:
        """Set the clock forward, stop it or start it.

        :param to: Unix seconds to jump to; None: the present.
        :param by: Seconds to jump ahead from there.
        :param frozen: Whether it is stopped from then on; None: as before.
        """
        real, now = self._source(), self()
        then = (now if to is None else to) + by
        if then < now:
            raise BackwardsInTime(f"Time does not go back: it is {now}, and {then} is before that.")
        self._anchor = Anchor(real, then, self._anchor.frozen if frozen is None else frozen)
