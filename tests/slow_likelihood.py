"""A likelihood and a fit that share no code with the engine: plain numpy over the JSON, and SLSQP.

Slow and simple on purpose. Derivatives are complex steps, exact to rounding.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln


def _code4(x, low, high):
    if abs(x.real) >= 1:
        return high**x if x.real > 0 else low ** (-x)
    a, b = np.log(high), np.log(low)
    # 1 + odd + even polynomial with the value, slope and curvature of the exponentials at +-1.
    odd = [(high - low) / 2, (high * a - low * b) / 2, (high * a * a - low * b * b) / 2]
    even = [(high + low) / 2 - 1, (high * a + low * b) / 2, (high * a * a + low * b * b) / 2]
    odd_c = np.linalg.solve([[1, 1, 1], [1, 3, 5], [0, 6, 20]], odd)
    even_c = np.linalg.solve([[1, 1, 1], [2, 4, 6], [2, 12, 30]], even)
    value = 1.0
    for c, p in zip((*odd_c, *even_c), (1, 3, 5, 2, 4, 6), strict=True):
        value = value + c * x**p
    return value


def _code4p(x, up, down):
    """The shift of one bin; up and down are yields minus nominal."""
    if abs(x.real) >= 1:
        return x * up if x.real > 0 else -x * down
    half, rest = (up - down) / 2, (up + down) / 2
    return half * x + rest * (15 * x**2 - 10 * x**4 + 3 * x**6) / 8


class SlowLikelihood:
    """-2 ln L of a workspace whose parameters are read by name, as pyhf defines it.

    Args:
        reference: Only its names, bounds, start, data and JSON are used.
    """

    def __init__(self, reference):
        self.table, self.data, self.n_main = (
            reference.parameters,
            reference.data,
            reference.n_main,
        )
        self.where = {name: i for i, name in enumerate(self.table.names)}
        spec = reference.workspace
        self.channels = sorted(spec["channels"], key=lambda c: c["name"])
        config = reference.model.config
        self.constraints, place = [], self.n_main
        stat = self._staterror_widths()
        for name in config.auxdata_order:
            kinds = {
                m["type"]: (m, s)
                for c in self.channels
                for s in c["samples"]
                for m in s["modifiers"]
                if m["name"] == name
            }
            size = config.param_set(name).n_parameters
            for i in range(size):
                index = config.par_slice(name).start + i
                if "shapesys" in kinds:
                    m, s = kinds["shapesys"]
                    if s["data"][i] == 0:  # pyhf leaves the constraint in, with one expected count
                        m, s = {"data": np.ones(i + 1)}, {"data": np.ones(i + 1)}
                    tau = (s["data"][i] / m["data"][i]) ** 2
                    self.constraints.append(("poisson", index, place, tau))
                elif "staterror" in kinds:
                    self.constraints.append(("normal", index, place, stat[name][i]))
                elif "lumi" in kinds:
                    sigma = next(
                        p["sigmas"][0]
                        for p in spec["measurements"][0]["config"]["parameters"]
                        if p["name"] == name
                    )
                    self.constraints.append(("normal", index, place, sigma))
                else:
                    self.constraints.append(("normal", index, place, 1.0))
                place += 1

    def _staterror_widths(self):
        squares, totals = {}, {}
        for channel in self.channels:
            for sample in channel["samples"]:
                for m in sample["modifiers"]:
                    if m["type"] == "staterror":
                        name = m["name"]
                        squares[name] = squares.get(name, 0) + np.square(m["data"])
                        totals[name] = totals.get(name, 0) + np.array(sample["data"])
        # A bin without expectation has a constraint of width 1 in pyhf, and a fixed parameter.
        return {
            name: np.where(totals[name] > 0, np.sqrt(squares[name]), 1.0)
            / np.where(totals[name] > 0, totals[name], 1.0)
            for name in squares
        }

    def rates(self, x):
        out = []
        for channel in self.channels:
            total = 0
            for sample in channel["samples"]:
                nominal = np.array(sample["data"], float)
                base, factor = nominal.astype(complex), np.ones(len(nominal), complex)
                for m in sample["modifiers"]:
                    name, data = m["name"], m["data"]
                    if m["type"] in ("normfactor", "lumi"):
                        factor *= x[self.where[name]]
                    elif m["type"] in ("shapefactor", "shapesys", "staterror"):
                        factor *= [x[self.where[f"{name}[{i}]"]] for i in range(len(nominal))]
                    elif m["type"] == "normsys":
                        factor *= _code4(x[self.where[name]], data["lo"], data["hi"])
                    else:
                        for i, centre in enumerate(nominal):
                            base[i] += _code4p(
                                x[self.where[name]],
                                data["hi_data"][i] - centre,
                                data["lo_data"][i] - centre,
                            )
                total = total + base * factor
            out.append(total)
        return np.concatenate(out)

    def twice_nll(self, x):
        rate, n = self.rates(x), self.data[: self.n_main]
        value = np.sum(rate + gammaln(n + 1)) - np.sum(n[n > 0] * np.log(rate[n > 0]))
        for kind, index, place, width in self.constraints:
            aux = self.data[place]
            if kind == "normal":
                value += 0.5 * ((aux - x[index]) / width) ** 2
                value += np.log(width) + 0.5 * np.log(2 * np.pi)
            else:
                mean = x[index] * width
                value += mean + gammaln(aux + 1) - (aux * np.log(mean) if aux else 0)
        return 2 * value

    def minimize(self, fixed, values, starts=3, seed=0):
        """Return the lowest -2 ln L with every rate >= 0 that SLSQP finds, and where."""
        table, rng = self.table, np.random.default_rng(seed)
        free = np.flatnonzero(~fixed)
        seen = self.data[: self.n_main] > 0
        floor = np.where(seen, 1e-9, 0.0)

        def full(u):
            x = values.astype(complex)
            x[free] = u
            return x

        def both(function):
            def derivative(u):
                columns = []
                for i in range(len(u)):
                    moved = u.astype(complex)
                    moved[i] += 1e-30j
                    columns.append(np.imag(function(moved)) / 1e-30)
                return np.array(columns).T

            return (lambda u: np.real(function(u))), derivative

        value, gradient = both(lambda u: self.twice_nll(full(u)))
        rate, jacobian = both(lambda u: self.rates(full(u)) - floor)
        best = np.inf, None
        bounds = list(zip(table.lower[free], table.upper[free], strict=True))
        for trial in range(10 * starts):
            if trial >= starts and np.isfinite(best[0]):
                break  # more starts only where SLSQP has failed at each of them
            u = values[free] + (0 if trial == 0 else 0.2) * rng.normal(size=len(free))
            u = np.clip(u, table.lower[free], table.upper[free])
            with np.errstate(all="ignore"):
                found = minimize(
                    value, u, jac=gradient, bounds=bounds, method="SLSQP",
                    constraints={"type": "ineq", "fun": rate, "jac": jacobian},
                    options={"maxiter": 500, "ftol": 1e-13},
                )  # fmt: skip
            u = np.clip(found.x, table.lower[free], table.upper[free])
            if np.isfinite(found.fun) and np.min(rate(u)) > -1e-9 and value(u) < best[0]:
                best = float(value(u)), np.real(full(u))
        return best
