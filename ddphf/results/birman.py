"""Record of the reference study: what ``ddphf study birman`` computes and its figures draw."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ddphf.arrays import Numbers, Places, Rows
from ddphf.results.growth import Written
from ddphf.results.shapes import OPEN, fields, listed
from ddphf.results.shown import find_named

__all__ = ["BirmanResult", "SetupResult", "StatisticResult", "TableRow"]


@dataclass(frozen=True)
class StatisticResult:
    """One statistic in the null and in the signal ensemble of one set-up.

    Attributes:
        name: ``"L1"``, ``"L2"`` (both as signed Z), ``"N_sigma window"`` or ``"N_sigma all"``.
        asimov: Its value on Asimov data.
        null_mean: Mean of the null ensemble.
        null_sd: Its standard deviation.
        signal_mean: Mean of the signal ensemble.
        signal_sd: Its standard deviation.
        n: Toys of each ensemble.
        n_failed: Toys without a certificate, in both together.
        edges: Of the histograms.
        null_counts: Histogram of the null ensemble; under- and overflow are left out.
        signal_counts: Of the signal ensemble.
        roc_background: Efficiency of the null ensemble along the ROC curve.
        roc_signal: Efficiency of the signal ensemble.
        auc: Area below it.
        auc_error: Its standard error.
        auc_gaussian: Phi(asimov / sqrt 2): two unit Gaussians that far apart.
        injected_asimov: Asimov value per strength of the set-up's ``injected_z``.
        injected_mean: Mean over toys.
        injected_sd: Standard deviation over toys.
    """

    name: str
    asimov: float
    null_mean: float
    null_sd: float
    signal_mean: float
    signal_sd: float
    n: int
    n_failed: int
    edges: Numbers
    null_counts: Numbers
    signal_counts: Numbers
    roc_background: Numbers
    roc_signal: Numbers
    auc: float
    auc_error: float
    auc_gaussian: float
    injected_asimov: Numbers
    injected_mean: Numbers
    injected_sd: Numbers


@dataclass(frozen=True)
class SetupResult:
    """One background with one signal.

    Attributes:
        name: Such as ``"flat_10000_rectangle"``.
        title: For people.
        axes: Binning: ``label``, ``unit``, ``edges``.
        background: T, flattened in C order.
        signal: Injected events, flattened.
        mu_known: Events with Asimov Z_L1 = 5 (Eq. 10): the injected signal.
        mu_pair: Events with Asimov Z_L2 = 5 (Eq. 11).
        window_start: First bins of the window of ``"N_sigma window"``.
        window_size: Its bins.
        window_fraction: Signal over background in it.
        signal_fraction: Signal over background of all bins.
        best_start: First bins of the square with the largest Asimov N_sigma.
        best_size: Its bins.
        best_n_sigma: Its N_sigma: local.
        global_p: How often the best window of this size reaches the window's N_sigma without a
            signal.
        global_p_error: Its statistical error.
        window_sizes: Bins along each axis of the windows below, around one point.
        window_asimov: N_sigma of each on Asimov data.
        window_bands: Per quantile of ``BAND_QUANTILES`` the N_sigma of signal toys by size.
        window_null_bands: The same without signal.
        injected_z: Asimov Z_L1 of the strengths of the statistics' ``injected_*``.
        statistics: L1, L2, N_sigma of the window and of all bins.
    """

    name: str
    title: str
    axes: tuple[dict[str, Any], ...]
    background: Numbers
    signal: Numbers
    mu_known: float
    mu_pair: float
    window_start: Places
    window_size: Places
    window_fraction: float
    signal_fraction: float
    best_start: Places
    best_size: Places
    best_n_sigma: float
    global_p: float
    global_p_error: float
    window_sizes: Places
    window_asimov: Numbers
    window_bands: Rows
    window_null_bands: Rows
    injected_z: Numbers
    statistics: tuple[StatisticResult, ...]

    BAND_QUANTILES = (0.0228, 0.1587, 0.5, 0.8413, 0.9772)
    """-2, -1, 0, 1, 2 standard deviations of a Gaussian."""

    def statistic(self, name: str) -> StatisticResult:
        """Return a statistic by name.

        Raises:
            KeyError: There is no such statistic.
        """
        return find_named(self.statistics, name)

    @property
    def shape(self) -> Places:
        """Bins along each axis."""
        return tuple(len(axis["edges"]) - 1 for axis in self.axes)


@dataclass(frozen=True)
class TableRow:
    """One number of the paper beside ours.

    Attributes:
        quantity: What it is.
        paper: As printed; None where the paper gives none.
        ours: None where the set-up was not run.
        error: Statistical error of ours; None where there is none.
        why: Why the two differ.
    """

    quantity: str
    paper: str | None
    ours: float | None
    error: float | None
    why: str


@dataclass(frozen=True, repr=False)
class BirmanResult(Written):
    """What ``ddphf study birman`` writes.

    Attributes:
        toys: Per ensemble.
        seed: Of the toys.
        setups: One record per background and signal.
        table: Paper, ours, why different.
        provenance: Versions and the digest of the sample.
    """

    toys: int
    seed: int
    setups: tuple[SetupResult, ...]
    table: tuple[TableRow, ...]
    provenance: dict[str, Any] = field(default_factory=dict)

    SCHEMA = "ddphf/study_birman/1"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"schema": self.SCHEMA, **_lists(asdict(self))}

    @classmethod
    def _read(cls, data: dict[str, Any]) -> BirmanResult:
        setups = []
        for setup in data["setups"]:
            statistics = tuple(StatisticResult(**_tuples(s)) for s in setup["statistics"])
            setups.append(SetupResult(**{**_tuples(setup), "statistics": statistics}))
        return cls(
            toys=data["toys"],
            seed=data["seed"],
            setups=tuple(setups),
            table=tuple(TableRow(**row) for row in data["table"]),
            provenance=data["provenance"],
        )


def _lists(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _lists(value) for key, value in node.items()}
    return [_lists(item) for item in node] if isinstance(node, (list, tuple)) else node


def _tuples(record: dict[str, Any]) -> dict[str, Any]:
    def convert(node: Any) -> Any:
        if isinstance(node, dict):
            return dict(node)
        return tuple(convert(item) for item in node) if isinstance(node, list) else node

    return {key: convert(value) for key, value in record.items()}


SHAPE = BirmanResult.SHAPE = fields(
    {
        "provenance": OPEN,
        "setups": listed(fields({"statistics": listed(fields({}, of=StatisticResult))},
                                of=SetupResult)),
        "table": listed(fields({}, of=TableRow)),
    },
    of=BirmanResult,
)  # fmt: skip
