"""Expected events before and after the fit, with errors from the covariance of all parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ddphf.arrays import Array
from ddphf.exceptions import InputError
from ddphf.inference.fitter import Fitter
from ddphf.likelihood.errors.covariance import Covariance, Slopes, find_slopes
from ddphf.likelihood.reference import ReferenceModel, pyhf_backend
from ddphf.results.fit import FitResult, MinimumResult
from ddphf.results.provenance import made_of
from ddphf.results.yields import (
    AsymmetryResult,
    ChannelYields,
    PredictionResult,
    PullResult,
    YieldResult,
    YieldsResult,
)
from ddphf.text import list_names

__all__ = ["predict_model", "predict_yields"]


def predict_yields(
    workspace: Mapping[str, object],
    fit: FitResult,
    *,
    axes: Sequence[Mapping[str, Any]] = (),
    pairing: Mapping[str, str] | None = None,
) -> YieldsResult:
    """Return observed and expected events per channel, sample and bin.

    Before the fit every parameter has its starting value and the width of its constraint, and a
    signal strength that starts at 0 is 1; what has no constraint counts as known. After it the
    errors are those of the fit, with all correlations
    (docs/yields.md).

    Args:
        workspace: A pyhf JSON workspace.
        fit: Its certified fit.
        axes: Binning of the sidecar: ``label``, ``unit`` and ``edges`` per dimension.
        pairing: Names of the channels ``tested`` and ``partner``: adds their asymmetry.

    Raises:
        ModelError: The workspace is refused.
        InputError: The fit has other parameters than the workspace.

    Example:
        >>> from ddphf.inference.fit import fit_workspace
        >>> import pyhf
        >>> model = pyhf.simplemodels.uncorrelated_background([5.0], [50.0], [7.0])
        >>> spec = dict(pyhf.Workspace.build(model, [60.0] + model.config.auxdata))
        >>> channel = predict_yields(spec, fit_workspace(spec)).channels[0]
        >>> for name, prediction in channel.predictions.items():
        ...     print(f"{name} {prediction.total.sum:.2f} +- {prediction.total.sum_error:.2f}")
        prefit 55.00 +- 7.00
        postfit 60.00 +- 7.75
        null 54.95 +- 5.22
    """
    fitter = Fitter(ReferenceModel(workspace, fit.measurement))
    return made_of(predict_model(fitter, fit, axes=axes, pairing=pairing), workspace)


def predict_model(
    fitter: Fitter,
    fit: FitResult,
    *,
    axes: Sequence[Mapping[str, Any]] = (),
    pairing: Mapping[str, str] | None = None,
) -> YieldsResult:
    """Predict with a model that is already built; see :func:`predict_yields`.

    Args:
        fitter: Of the measurement of the fit.
        fit: Its certified fit.
        axes: Binning of the sidecar.
        pairing: Names of the channels ``tested`` and ``partner``.

    Returns:
        The events, without provenance.

    Raises:
        InputError: The fit has other parameters than the model.
    """
    reference, model = fitter.reference, fitter.compiled
    predictor = _Predictor(reference, tuple(axes), pairing)
    start, strength = _before(reference)
    predictor.add("prefit", start, Covariance.of_widths(reference, model))
    covariance = None
    for name, minimum in (("postfit", fit.fit), ("null", fit.null)):
        if minimum is not None:
            point, free = _point(reference, minimum)
            found = Covariance.at_minimum(reference, model, point, free)
            predictor.add(name, point, found)
            covariance = found if covariance is None else covariance
    assert covariance is not None
    return YieldsResult(
        measurement=fit.measurement,
        channels=predictor.channels(),
        prefit_strength=strength,
        axes=tuple(dict(axis) for axis in axes),
        pairing=None if pairing is None else dict(pairing),
        asymmetry=predictor.asymmetry(),
        correlations=_correlations(reference, covariance),
        pulls=_pulls(reference, fit.fit),
        warnings=tuple(_warn_of_edges(fit)),
    )


def _warn_of_edges(fit: FitResult) -> Iterator[str]:
    for name, minimum in (("post-fit", fit.fit), ("mu = 0", fit.null)):
        stopped = [p.name for p in minimum.parameters if p.error is None] if minimum else []
        if stopped:
            yield (
                f"{name}: a rate of 0 or a corner leaves {list_names(stopped)} without a symmetric "
                "error, so the errors of the yields are those with it held"
            )


class _Predictor:
    """Collects predictions of one measurement, total last among the samples."""

    def __init__(
        self,
        reference: ReferenceModel,
        axes: tuple[Mapping[str, Any], ...],
        pairing: Mapping[str, str] | None,
    ) -> None:
        self.reference, self.pairing = reference, pairing
        self.slices = reference.channel_slices
        self.shape = tuple(len(axis["edges"]) - 1 for axis in axes)
        self.found: dict[str, tuple[Array, list[Slopes], Covariance]] = {}

    def add(self, name: str, point: Array, covariance: Covariance) -> None:
        """Predict at a point."""
        with pyhf_backend("numpy"):
            rates = self._rates(point)
            self.found[name] = (rates, find_slopes(self._rates, point, covariance), covariance)

    def _rates(self, parameters: Array) -> Array:
        by_sample = np.asarray(
            self.reference.model.main_model.expected_data(
                parameters.tolist(), return_by_sample=True
            )
        )
        return np.vstack([by_sample, by_sample.sum(axis=0)])

    def channels(self) -> tuple[ChannelYields, ...]:
        """Return what was predicted by channel."""
        observed = {o["name"]: o["data"] for o in self.reference.workspace["observations"]}
        names = {
            channel["name"]: [sample["name"] for sample in channel["samples"]]
            for channel in self.reference.workspace["channels"]
        }
        found: dict[str, dict[str, PredictionResult]] = {name: {} for name in names}
        for prediction in self.found:
            for channel, record in self._predict(prediction, names).items():
                found[channel][prediction] = record
        return tuple(
            ChannelYields(name, tuple(map(float, observed[name])), found[name]) for name in names
        )

    def _predict(
        self, name: str, samples_of: Mapping[str, list[str]]
    ) -> dict[str, PredictionResult]:
        rates, slopes, covariance = self.found[name]
        n_bins = rates.shape[1]
        of_channel = np.zeros(n_bins, dtype=int)
        for number, where in enumerate(self.slices.values()):
            of_channel[where] = number
        per_bin, per_channel = (
            [np.sqrt(covariance.variance(slope, group)) for slope in slopes]
            for group in (np.arange(n_bins), of_channel)
        )
        samples = list(self.reference.model.config.samples)

        def record(row: int, number: int, where: slice) -> YieldResult:
            return YieldResult(
                expected=tuple(rates[row, where].tolist()),
                error=tuple(per_bin[row][where].tolist()),
                sum=float(rates[row, where].sum()),
                sum_error=float(per_channel[row][number]),
            )

        out = {}
        for number, (channel, where) in enumerate(self.slices.items()):
            axis_errors = [
                np.sqrt(covariance.variance(slopes[-1], group))
                for group in self._projections([channel])
            ]
            out[channel] = PredictionResult(
                samples={
                    sample: record(samples.index(sample), number, where)
                    for sample in samples_of[channel]
                },
                total=record(-1, number, where),
                axis_errors=tuple(tuple(errors.tolist()) for errors in axis_errors),
            )
        return out

    def _projections(self, channels: list[str]) -> list[Any]:
        """Return per axis where each bin of these channels lies on it, -1 for other bins."""
        n_bins = sum(where.stop - where.start for where in self.slices.values())
        size = int(np.prod(self.shape))
        parts = [self.slices[name] for name in channels]
        if not self.shape or any(part.stop - part.start != size for part in parts):
            return []
        groups = []
        for index in np.indices(self.shape).reshape(len(self.shape), -1):
            group = np.full(n_bins, -1)
            for part in parts:
                group[part] = index
            groups.append(group)
        return groups

    def asymmetry(self) -> tuple[AsymmetryResult, ...]:
        """Return (B - A) / (B + A) along each axis."""
        if self.pairing is None:
            return ()
        tested, partner = self.pairing["tested"], self.pairing["partner"]
        if not {tested, partner} <= set(self.slices):
            return ()
        data = self.reference.data[: self.reference.n_main]
        out = []
        for axis, group in enumerate(self._projections([tested, partner])):
            b, a = (self._sums(data, group, name) for name in (tested, partner))
            expected, errors = {}, {}
            for name, (rates, slopes, covariance) in self.found.items():
                rate_b, rate_a = (self._sums(rates[-1], group, n) for n in (tested, partner))
                total = np.maximum(rate_b + rate_a, 1e-300)
                weight = np.zeros(len(data))
                weight[self.slices[tested]] = (2 * rate_a / total**2)[group[self.slices[tested]]]
                weight[self.slices[partner]] = (-2 * rate_b / total**2)[group[self.slices[partner]]]
                variance = covariance.variance(slopes[-1], group, weight)
                filled = rate_b + rate_a > 0
                expected[name] = _holes((rate_b - rate_a) / total, filled)
                errors[name] = _holes(np.sqrt(variance), filled)
            both = np.maximum(a + b, 1.0)
            out.append(
                AsymmetryResult(
                    axis=axis,
                    observed=_holes((b - a) / both, a + b > 0),
                    observed_error=_holes(2 * np.sqrt(a * b / both**3), a + b > 0),
                    expected=expected,
                    expected_error=errors,
                )
            )
        return tuple(out)

    def _sums(self, values: Array, group: Any, channel: str) -> Array:
        where = self.slices[channel]
        return np.asarray(np.bincount(group[where], weights=values[where]), dtype=float)


def _before(reference: ReferenceModel) -> tuple[Array, float | None]:
    """Return the point before the fit, and the signal strength there.

    Workspaces that search for a signal start at mu = 0, where nothing of it would be seen.
    """
    table, config = reference.parameters, reference.model.config
    start = np.array(table.init)
    if table.poi is None or (config.poi_name, "normfactor") not in config.modifiers:
        return start, None
    poi = table.poi
    if start[poi] == 0 and not table.fixed[poi] and table.lower[poi] <= 1 <= table.upper[poi]:
        start[poi] = 1.0
    return start, float(start[poi])


def _holes(values: Array, filled: Any) -> tuple[float | None, ...]:
    return tuple(float(v) if ok else None for v, ok in zip(values, filled, strict=True))


def _point(reference: ReferenceModel, minimum: MinimumResult) -> tuple[Array, Any]:
    """Return values and free flags in the model's order."""
    table = reference.parameters
    given = {parameter.name: parameter for parameter in minimum.parameters}
    if set(given) != set(table.names):
        odd = sorted(set(given) ^ set(table.names))[0]
        raise InputError(
            f"the fit and the workspace have different parameters (first: '{odd}'); give the "
            "fit.json of this workspace"
        )
    values = np.array([given[name].value for name in table.names])
    return values, np.array([bool(given[name].error) for name in table.names])


def _scalars(reference: ReferenceModel) -> list[str]:
    """Return the parameters that are not per bin, in the model's order."""
    config = reference.model.config
    return [name for name in config.par_order if config.param_set(name).is_scalar]


def _correlations(reference: ReferenceModel, covariance: Covariance) -> dict[str, Any] | None:
    errors = np.sqrt(np.diag(covariance.corner))
    names = [reference.parameters.names[index] for index in covariance.global_]
    scalars = set(_scalars(reference))
    kept = [i for i, name in enumerate(names) if errors[i] > 0 and name in scalars]
    if not kept:
        return None
    matrix = covariance.corner[np.ix_(kept, kept)] / np.outer(errors[kept], errors[kept])
    np.fill_diagonal(matrix, 1.0)
    return {"names": [names[i] for i in kept], "matrix": matrix.tolist()}


def _pulls(reference: ReferenceModel, minimum: MinimumResult) -> tuple[PullResult, ...]:
    config, fixed = reference.model.config, reference.parameters.fixed
    out = []
    for name in _scalars(reference):
        paramset = config.param_set(name)
        if paramset.constrained and not fixed[config.par_slice(name)].any():
            parameter = minimum.parameter(name)
            nominal, width = float(paramset.auxdata[0]), float(paramset.width()[0])
            out.append(PullResult(name, parameter.value, parameter.error, nominal, width))
    return tuple(out)
