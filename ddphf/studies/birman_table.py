"""The numbers of the paper beside ours, and why they differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ddphf.results.birman import SetupResult, TableRow

__all__ = ["make_table"]

SIMULATION = (
    "another simulation: Pythia alone with parametrised resolutions instead of MadGraph, Pythia "
    "and Delphes"
)
TOYS = "toys; the paper quotes three digits"

Value = Callable[[SetupResult], tuple[float, float | None]]


def _asimov(name: str) -> Value:
    return lambda setup: (setup.statistic(name).asimov, None)


def _auc(name: str) -> Value:
    return lambda setup: (setup.statistic(name).auc, setup.statistic(name).auc_error)


def _loss(name: str) -> Value:
    """Part of the area that N_sigma in the window loses against another statistic, in percent."""

    def value(setup: SetupResult) -> tuple[float, float | None]:
        window, other = setup.statistic("N_sigma window"), setup.statistic(name)
        return 100 * (1 - window.auc / other.auc), 100 * window.auc_error / other.auc

    return value


SAMPLE_ROWS: tuple[tuple[str, str | None, Value, str], ...] = (
    ("Z_L1", "5", _asimov("L1"), "injected: Eq. 10 solved for 5"),
    (
        "Z_L2", "3.53", _asimov("L2"),
        "5 / sqrt 2 for any weak signal; the rest is signal over background: 3.53 is rounded",
    ),
    (
        "N_sigma, all bins", "1.48", _asimov("N_sigma all"),
        SIMULATION + "; it grows with the spread of the signal, which the resolution of the "
        "missing momentum sets",
    ),
    ("N_sigma, window", "2.74", _asimov("N_sigma window"), SIMULATION + "; local in both"),
    (
        "side of the best square", "6", lambda s: (float(s.best_size[0]), None),
        "the same square of bins: 30 GeV x 30 GeV",
    ),
    (
        "signal / background, all bins [%]", "0.2", lambda s: (100 * s.signal_fraction, None),
        "the paper prints one digit; " + SIMULATION,
    ),
    (
        "signal / background, window [%]", "2.8", lambda s: (100 * s.window_fraction, None),
        "the same to the printed digits",
    ),
    ("AUC of L1", "1.0", _auc("L1"), "Phi(5 / sqrt 2) = 0.999797, printed as 1.0"),
    ("AUC of L2", "0.994", _auc("L2"), TOYS),
    (
        "AUC of N_sigma, window", "0.973", _auc("N_sigma window"),
        "follows N_sigma: Phi(2.74 / sqrt 2) = 0.9737",
    ),
    ("AUC lost by N_sigma against L1 [%]", "2.6", _loss("L1"), "follows N_sigma"),
    ("AUC lost by N_sigma against L2 [%]", "2.0", _loss("L2"), "follows N_sigma"),
    (
        "global p of the window", None, lambda s: (s.global_p, s.global_p_error),
        "the paper's 2.74 is local; the best of all windows of this size is as large this often "
        "without a signal (0.431 for 2.74)",
    ),
)  # fmt: skip

SHAPES = (
    "'the PDFs do not depend on the shapes' holds for weak signals: Z_L2 = 5 / sqrt 2 (1 - O(s/T))"
)
FLAT_ROWS: tuple[tuple[str, str | None, Value, str], ...] = (
    ("Z_L2", "3.53", _asimov("L2"), SHAPES),
    (
        "mean Z_L2 of signal toys", "3.53",
        lambda s: (
            s.statistic("L2").signal_mean, s.statistic("L2").signal_sd / s.statistic("L2").n ** 0.5
        ),
        "toys; a fluctuation adds to q0, so the mean is above the Asimov value",
    ),
    ("AUC of L2", "0.994", _auc("L2"), TOYS),
    (
        "AUC of N_sigma, window", None, _auc("N_sigma window"),
        "a rectangle fills its window, so N_sigma loses nothing; a Gaussian reaches beyond it",
    ),
)  # fmt: skip


def make_table(setups: Sequence[SetupResult]) -> tuple[TableRow, ...]:
    """Return the rows of the sample, then those of the flat backgrounds.

    Rows of the sample stay, without a number, where it was not run.
    """
    sample = next((s for s in setups if s.name == "sample"), None)
    rows = [
        _row("sample", sample, quantity, paper, value, why)
        for quantity, paper, value, why in SAMPLE_ROWS
    ]
    for setup in setups:
        if setup is not sample:
            rows += [
                _row(setup.title, setup, quantity, paper, value, why)
                for quantity, paper, value, why in FLAT_ROWS
            ]
    return tuple(rows)


def _row(
    title: str, setup: SetupResult | None, quantity: str, paper: str | None, value: Value, why: str
) -> TableRow:
    if setup is None:
        return TableRow(f"{title}: {quantity}", paper, None, None, why)
    ours, error = value(setup)
    return TableRow(f"{title}: {quantity}", paper, ours, error, why)
