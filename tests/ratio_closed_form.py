"""Generalised least squares of a ratio workspace, from its JSON in plain numpy."""

import numpy as np


class ClosedForm:
    """Counts ~ rates(R) + F theta, theta standard normal, at a value of R.

    Args:
        workspace: Of one ratio; its parameters start at their nominal values.
        ratio: Where it is linear.
    """

    def __init__(self, workspace, ratio):
        config = workspace["measurements"][0]["config"]
        self.poi = config["poi"]
        sigmas = {p["name"]: p.get("sigmas", [0.0])[0] for p in config["parameters"]}
        channels = sorted(workspace["channels"], key=lambda c: c["name"])
        counts = {o["name"]: o["data"] for o in workspace["observations"]}
        sizes = [len(counts[c["name"]]) for c in channels]
        ends = np.cumsum([0, *sizes])
        total = ends[-1]
        self.observed = np.concatenate([counts[c["name"]] for c in channels])
        self.rates, self.design = np.zeros(total), np.zeros(total)
        self.columns = {}  # by parameter
        self.bins = {}  # variance of each bin, by modifier
        for channel, start, stop in zip(channels, ends[:-1], ends[1:], strict=True):
            where = slice(start, stop)
            for sample in channel["samples"]:
                y = np.array(sample["data"])
                names = [m["name"] for m in sample["modifiers"]]
                scale = ratio if self.poi in names else 1.0
                self.rates[where] += scale * y
                if self.poi in names:
                    self.design[where] += y
                for modifier in sample["modifiers"]:
                    self._add(modifier, y, scale, where, sigmas)

    def _add(self, modifier, y, scale, where, sigmas):
        name, kind, data = modifier["name"], modifier["type"], modifier["data"]
        zero = np.zeros(len(self.rates))
        if kind in ("shapesys", "staterror"):
            self.bins.setdefault(name, zero.copy())[where] += (scale * np.array(data)) ** 2
            return
        if kind == "normfactor":
            return
        if kind == "normsys":
            shift = (data["hi"] - data["lo"]) / 2 * y
        elif kind == "histosys":
            shift = (np.array(data["hi_data"]) - np.array(data["lo_data"])) / 2
        else:
            shift = sigmas["lumi"] * y
        self.columns.setdefault(name, zero.copy())[where] += scale * shift

    def variance(self, poisson=True):
        """Return the variance of the bins without the columns."""
        return sum(self.bins.values(), self.rates * poisson)

    def solve(self):
        """Return (weights, error): R moves by weights @ (change of the counts)."""
        f = np.stack([*self.columns.values()], axis=1)
        v = np.diag(self.variance()) + f @ f.T
        solved = np.linalg.solve(v, self.design)
        error = float(np.sqrt(1 / (self.design @ solved)))
        return error**2 * solved, error

    def group(self, parameters, modifiers=()):
        """Return what a group of auxiliary measurements adds to the error."""
        weights, _ = self.solve()
        shifts = [float(weights @ self.columns[name]) for name in parameters]
        spread = [float(weights**2 @ self.bins[name]) for name in modifiers]
        return float(np.sqrt(np.sum(np.square(shifts)) + np.sum(spread)))

    def impacts(self):
        """Return by parameter how far R moves when it is held one error away: cov / error."""
        f = np.stack([self.design, *self.columns.values()], axis=1)
        priors = np.diag([0.0, *[1.0] * len(self.columns)])
        covariance = np.linalg.inv(f.T @ (f / self.variance()[:, None]) + priors)
        moved = covariance[0, 1:] / np.sqrt(np.diag(covariance)[1:])
        return dict(zip(self.columns, moved, strict=True))

    def counts(self):
        """Return what the counts add to the error."""
        weights, _ = self.solve()
        return float(np.sqrt(weights**2 @ self.rates))


def fit(workspace, ratio=1.0):
    """Return R and the closed form there, iterated until it stands."""
    for _ in range(100):
        form = ClosedForm(workspace, ratio)
        weights, _ = form.solve()
        step = float(weights @ (form.observed - form.rates))
        ratio += step
        if abs(step) < 1e-12:
            break
    return ratio, form


def widths(design, variance, factors):
    """Return pull widths, rows the assumption of the data, by full matrices."""
    out = np.empty((len(factors),) * 2)
    full = [np.diag(variance) + f @ f.T for f in factors]
    for column, model in enumerate(full):
        solved = np.linalg.solve(model, design)
        error = 1 / (design @ solved)
        for row, truth in enumerate(full):
            out[row, column] = np.sqrt(error * (solved @ truth @ solved))
    return out
