"""The always-on views of one series, from a value to a calibrated score: what the bank and ``detector score`` share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.anomaly.base import LARGEST, Flags, Model, Rows, Scores, State, Times, Values
from detector.anomaly.calibrate import Tail
from detector.anomaly.combine import Combination
from detector.anomaly.fluctuation import Fluctuation
from detector.anomaly.level import Level
from detector.anomaly.season import Season

COMPRESS = 0.7
"""Residuals to this power have tails that the calibration can hold (its docstring)."""


class Views:
    """All models over one set of rows: value in, -log10 p out, NaN while not sure."""

    def __init__(self) -> None:
        self.level = Level()
        self.season = Season()
        self._models: dict[str, Model] = {"level": self.level, "season": self.season, "fluctuation": Fluctuation()}
        self._tails = {name: Tail(COMPRESS) for name in self._models}
        self._combination = Combination()
        self._final = Tail()

    def _parts(self) -> dict[str, Model | Tail | Combination]:
        tails = {f"{name}-tail": tail for name, tail in self._tails.items()}
        return {**self._models, **tails, "combination": self._combination, "final": self._final}

    def grow(self, capacity: int) -> None:
        for part in self._parts().values():
            part.grow(capacity)

    def reset(self, rows: Rows) -> None:
        for part in self._parts().values():
            part.reset(rows)

    def step(self, rows: Rows, at: Times, x: Values, learn: Flags) -> Scores:
        """Score n values, oldest first within a row; ``x`` float64[n], NaN and infinities excluded by the caller."""
        x = np.clip(x, -LARGEST, LARGEST)
        views = np.empty((len(self._models), len(rows)), np.float32)
        for k, (name, model) in enumerate(self._models.items()):
            views[k] = self._tails[name].step(rows, model.step(rows, at, x, learn), learn)
        return self._final.step(rows, self._combination.step(rows, x, views, learn), learn)

    def seen(self, rows: Rows) -> npt.NDArray[np.float32]:
        """How many scored values the last calibration of each row rests on."""
        return self._final.seen(rows)

    def bytes(self) -> int:
        """Memory of all state."""
        return sum(array.nbytes for array in self.state().values())

    def state(self) -> State:
        return {f"{name}/{key}": array for name, part in self._parts().items() for key, array in part.state().items()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        for name, part in self._parts().items():
            part.restore({key.split("/", 1)[1]: a for key, a in state.items() if key.split("/", 1)[0] == name})
