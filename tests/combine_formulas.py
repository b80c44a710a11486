"""A Combine datacard evaluated in plain numpy by the formulas of Combine's documentation.

It reads the text and the ROOT file as ``text2workspace.py`` does, and knows nothing of how ddphf
writes them. Source: docs/what_combine_does/model_and_likelihood.md and
docs/part2/settinguptheanalysis.md of Combine 10.2.
"""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import uproot
from scipy.special import gammaln, xlogy

__all__ = ["CombineCard"]


def morph(nu, up, down):
    """F of the documentation, epsilon = q = 1: the shift of a yield by a shape nuisance."""
    if nu >= 1:
        return nu * up
    if nu <= -1:
        return -nu * down
    return 0.5 * nu * ((up - down) + (up + down) * (3 * nu**5 - 10 * nu**3 + 15 * nu) / 8)


def asymmetric(nu, low, high):
    """kappa^A to the power nu of the documentation, with its signs as the sources have them."""
    if nu >= 0.5:
        return high**nu
    if nu <= -0.5:
        return low**-nu
    smooth = 48 * nu**5 - 40 * nu**3 + 15 * nu
    log = 0.5 * ((np.log(high) - np.log(low)) + 0.25 * (np.log(high) + np.log(low)) * smooth)
    return np.exp(nu * log)


def formula(expression, values):
    """Evaluate a RooFit expression of @0, @1, ...; comparisons are 0 or 1."""
    text = re.sub(r"@(\d+)", r"v[\1]", expression)
    return float(eval(text, {"__builtins__": {}}, {"v": values, "pow": pow, "abs": abs}))


class CombineCard:
    """The likelihood of a card; parameters by name."""

    def __init__(self, path):
        path = Path(path)
        lines = [x.split() for x in path.read_text().splitlines() if not x.startswith(("#", "-"))]
        lines = [words for words in lines if words]
        heads = defaultdict(list)
        for words in lines:
            heads[words[0]].append(words[1:])
        (shapes,) = heads["shapes"]
        assert shapes[:2] == ["*", "*"]
        self.columns = list(zip(heads["bin"][1], heads["process"][0], strict=True))
        self.signal = {
            c: int(n) <= 0 for c, n in zip(self.columns, heads["process"][1], strict=True)
        }
        assert set(heads["rate"][0]) == {"-1"}
        assert set(heads["observation"][0]) == {"-1"}
        bins, processes = heads["bin"][0], {p for _, p in self.columns}
        assert int(heads["imax"][0][0]) == len(bins)
        assert int(heads["jmax"][0][0]) == len(processes) - 1
        for process in processes:  # text2workspace.py refuses a process of both kinds
            assert len({self.signal[c] for c in self.columns if c[1] == process}) == 1
        assert any(self.signal.values())
        (stats,) = [words for words in lines if words[1:2] == ["autoMCStats"]]
        assert stats == ["*", "autoMCStats", "-1", "0", "2"]
        self.lognormal, self.shape, self.param = {}, {}, {}
        self.rates, self.start = defaultdict(list), {"r": 1.0}
        self.formulas = {}
        first = next(i for i, words in enumerate(lines) if words[0] == "rate") + 1
        for name, kind, *rest in (words for words in lines[first:] if words[1] != "autoMCStats"):
            if kind == "lnN":
                cells = dict(zip(self.columns, rest, strict=True))
                self.lognormal[name] = {c: tuple(map(float, v.split("/")))
                                        for c, v in cells.items() if v != "-"}  # fmt: skip
                self.start[name] = 0.0
            elif kind == "shape":
                cells = dict(zip(self.columns, rest, strict=True))
                assert set(cells.values()) <= {"1", "-"}
                self.shape[name] = {c for c, v in cells.items() if v == "1"}
                self.start[name] = 0.0
            elif kind == "param":
                centre, width, _ = rest
                self.param[name] = (float(centre), float(width))
                self.start.setdefault(name, float(centre))
            elif kind == "rateParam":
                place = (rest[0], rest[1])
                assert place in self.columns
                if rest[-1].startswith("["):
                    assert len(rest) == 4
                    self.start.setdefault(name, float(rest[2]))
                else:
                    self.formulas[name] = (rest[2], rest[3].split(","))
                self.rates[place].append(name)
            else:
                raise AssertionError(kind)
        with uproot.open(path.with_name(shapes[2])) as file:
            keys = set(file.keys(cycle=False))
            self.histograms = {k: file[k].values() for k in keys if "/" in k}

    def rates_of(self, values):
        """Return the expected counts of each channel."""
        out = {}
        for channel, process in self.columns:
            nominal = self.histograms[f"{channel}/{process}"]
            shifted = nominal.astype(float)
            for name, places in self.shape.items():
                if (channel, process) in places:
                    up, down = (self.histograms[f"{channel}/{process}_{name}{end}"] - nominal
                                for end in ("Up", "Down"))  # fmt: skip
                    shifted = shifted + morph(values[name], up, down)
            factor = values["r"] if self.signal[channel, process] else 1.0
            for name in self.rates[channel, process]:
                if name in self.formulas:
                    expression, arguments = self.formulas[name]
                    factor *= formula(expression, [values[a] for a in arguments])
                else:
                    factor *= values[name]
            for name, places in self.lognormal.items():
                if (channel, process) in places:
                    factor *= asymmetric(values[name], *places[channel, process])
            out[channel] = out.get(channel, 0.0) + factor * np.maximum(shifted, 0.0)
        return out

    def twice_nll(self, values):
        """Return -2 ln L; constants of Gaussians left out."""
        total = 0.0
        for channel, rates in self.rates_of(values).items():
            observed = self.histograms[f"{channel}/data_obs"]
            total += 2 * float(np.sum(rates - xlogy(observed, rates) + gammaln(observed + 1)))
        for name in [*self.lognormal, *self.shape]:
            total += values[name] ** 2
        for name, (centre, width) in self.param.items():
            total += ((values[name] - centre) / width) ** 2
        return total
