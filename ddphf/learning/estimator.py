"""The test as an estimator in scikit-learn's style, for arrays without an analysis file."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import InputError
from ddphf.learning.curve import LearnedRatio, learn_ratio
from ddphf.learning.labels import make_labels
from ddphf.learning.pool import LINEAR, make_pool
from ddphf.learning.redraws import redraw_pool
from ddphf.learning.run_test import DEFAULT, judge_pool

__all__ = ["AsymmetryTest"]


class AsymmetryTest:
    """Tests whether labels of events know anything but their probabilities.

    Args:
        statistic: ``default`` (smallest p of kernel and scan), ``kernel``, ``scan`` or ``energy``.
        redraws: Of the labels.
        seed: Of the redraws.

    Attributes:
        p_value_: By redraws, never 0.
        p_interval_: 68 % interval of the probability to reach the statistic.
        statistic_: The observed value.
        p_law_: By the closed law where redraws confirm it, or None.
        members_: Value and p of each statistic.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> x, y = rng.normal(size=(800, 1)), np.arange(800) % 2
        >>> test = AsymmetryTest(redraws=99).fit(x, y)
        >>> 0.05 < test.p_value_ <= 1, test.log_ratio(x[:3]).shape
        (True, (3,))
    """

    def __init__(self, statistic: str = "default", redraws: int = 999, seed: int = 0) -> None:
        self.statistic, self.redraws, self.seed = statistic, redraws, seed

    def fit(
        self,
        points: Any,
        tested: Any,
        ratio: Any = 1.0,
        *,
        fakes_tested: Any = 0.0,
        fakes_partner: Any = 0.0,
    ) -> Self:
        """Test and learn.

        Args:
            points: Variables of the events of both samples, (n, d).
            tested: Whether each is in the tested sample, (n,).
            ratio: eps_tested / eps_partner of each event, (n,), or one number.
            fakes_tested: Part of the events there that is fakes of the tested sample, (n,).
            fakes_partner: The same of its partner.

        Raises:
            InputError: Arrays that do not fit, an unknown statistic, or labels that mean nothing.
        """
        if self.statistic not in ("default", *LINEAR):
            known = ", ".join(("default", *LINEAR))
            raise InputError(f"statistic '{self.statistic}' is unknown; expected {known}")
        x = np.asarray(points, dtype=float)
        x = x[:, None] if x.ndim == 1 else x
        y = np.asarray(tested)
        if x.ndim != 2 or y.shape != (len(x),):
            raise InputError(f"points of shape {x.shape} and labels of shape {y.shape} do not fit")
        labels = make_labels(y, ratio, fakes_tested=fakes_tested, fakes_partner=fakes_partner)
        names = DEFAULT if self.statistic == "default" else (self.statistic,)
        pool = make_pool(x, labels, names)
        found = judge_pool(pool, self.statistic, redraw_pool(pool, self.redraws, seed=self.seed))
        self.statistic_: float = found["t"]
        self.p_value_: float = found["p"]
        self.p_interval_: tuple[float, float] = found["p_interval"]
        self.p_law_: float | None = found["p_law"]
        self.members_: tuple[dict[str, Any], ...] = found["members"]
        self._ratio: LearnedRatio = learn_ratio(x, labels)
        return self

    def log_ratio(self, points: Any) -> Array:
        """Return the learned ln of the ratio to the null at some points (m, d), (m,).

        Raises:
            InputError: Nothing was fitted.
        """
        if not hasattr(self, "_ratio"):
            raise InputError("log_ratio: nothing was learned yet; call fit first")
        x = np.asarray(points, dtype=float)
        return self._ratio(x[:, None] if x.ndim == 1 else x)
