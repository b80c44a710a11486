"""The table of the study of symmetrised NPLM: paper, ours, why different."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ddphf.arrays import Spec

__all__ = ["compare_with_paper", "nplm_text"]

CHI2 = "chi2 of 12 degrees of freedom, mean 12"


def compare_with_paper(study: Spec) -> list[Spec]:
    """Return the rows of paper and ours: ``quantity``, ``paper``, ``ours``, ``why``.

    ``paper`` is None where no number of it is known.
    """
    return [
        *_null_rows(study), *_signal_rows(study), *_luminosity_rows(study),
        *_permutation_rows(study), *_sample_rows(study.get("sample")),
    ]  # fmt: skip


def _row(quantity: str, paper: str | None, ours: str, why: str) -> Spec:
    return {"quantity": quantity, "paper": paper, "ours": ours, "why": why}


def _null_rows(study: Spec) -> list[Spec]:
    longest = max(row["epochs"] for row in study["epochs"])
    rows = [
        _row(
            f"mean of t_sym without a signal, {row['unit']}, {row['epochs']} epochs", CHI2,
            f"{_pm(row)}, KS p {row['chi2_12_ks_p']:.2g}",
            "the loss has no minimum to reach: t grows with the epochs, faster in the larger unit",
        )
        for row in study["epochs"]
        if row["epochs"] == longest
    ]  # fmt: skip
    last = study["change_points"][-1]
    rows.append(
        _row(
            f"where it would end: largest t of four steps, {last['events']} events per sample",
            None, _pm(last), "steps are sigmoids of infinite slope; it grows with the events",
        )
    )  # fmt: skip
    rows.append(
        _row(
            "time of one training", "2 to 50 hours are asked for",
            "about a second of one core for 50 000 epochs",
            "a compiled loop over 400 groups of events; docs/learn.md times NPLM_package itself",
        )
    )  # fmt: skip
    return rows


def _signal_rows(study: Spec) -> list[Spec]:
    out = []
    for row in study["signals"]:
        what = f"{row['signal']}, {row['events']} of {row['background']} events"
        out.append(
            _row(
                f"{what}: Z_id, background and shape known",
                "about 5" if row["paper"] is not None else None, f"{row['z_known_background']:.3f}",
                "Eq. 29, exact; the paper rounds" if row["paper"] is not None else "Eq. 29, exact",
            )
        )  # fmt: skip
        ours = f"default {_median(row['default'])}"
        if "network" in row:
            ours += f", network {_median(row['network'])}"
        why = (
            f"the partner tells the background no better than its own counts: a test of 12 degrees "
            f"of freedom that finds all of t_id = {row['t_ideal']:.2f} has {row['z_ideal']:.2f}, "
            f"one that knows the shape {row['z_known_shape']:.2f}"
        )
        out.append(_row(f"{what}: median Z", row["paper"], ours, why))
    return out


def _luminosity_rows(study: Spec) -> list[Spec]:
    out = []
    for signal in dict.fromkeys(row["signal"] for row in study["luminosity"]):
        rows = [row for row in study["luminosity"] if row["signal"] == signal]
        ours = ", ".join(f"{row['background']}: {_median(row['default'])}" for row in rows)
        ideal = ", ".join(f"{row['z_ideal']:.2f}" for row in rows)
        first, last = rows[0], rows[-1]
        growth = last["t_ideal"] / first["t_ideal"]
        out.append(
            _row(
                f"{signal}, {first['events'] / first['background']:.1%} of the background: median "
                "Z of the default by events per sample",
                None, ours,
                f"t_id grows as the luminosity ({growth:.2f} times for "
                f"{last['background'] / first['background']:g} times the events); of 12 degrees of "
                f"freedom the limits are {ideal}",
            )
        )  # fmt: skip
    return out


def _permutation_rows(study: Spec) -> list[Spec]:
    return [
        _row(
            f"no signal, efficiencies {row['difference']:.0%} apart {row['where']}, "
            f"{row['events']} events: part of experiments with p < .05 by permutation",
            None, f"{row['permutation']:.1%}",
            f"labels are not exchangeable there; redrawn with their probabilities: "
            f"{row['redraws']:.1%}",
        )
        for row in study["permutation"]
    ]  # fmt: skip


def _sample_rows(sample: Spec | None) -> list[Spec]:
    if sample is None:
        return []
    out = []
    for row in sample["rows"]:
        what = f"{sample['variable']} of {sample['name']}, {row['part']} ({row['events']})"
        nplm, network = row["nplm"], row["network"]
        known = "219 087 events" if row["part"] != "all events" else None
        out.append(
            _row(
                f"{what}: t_sym by Adam, {nplm['epochs']} epochs", known,
                f"{nplm['t']:.2f}, p = {nplm['p']:.3g} by redraws; by chi2_12 "
                f"{nplm['chi2_12_p']:.2g}",
                "efficiencies and fakes are in the labels' probabilities; the mean of t in redraws "
                f"is {nplm['null_mean']:.1f}",
            )
        )  # fmt: skip
        out.append(
            _row(
                f"{what}: network of second order", None,
                f"{network['t']:.2f}, p = {network['p']:.3g}",
                f"has a prior on its weights, so that there is a minimum; mean of t in redraws "
                f"{network['null_mean']:.1f}",
            )
        )  # fmt: skip
        default, plain = row["default"], row["permutation"]
        out.append(
            _row(
                f"{what}: default", None,
                f"p = {default['p']:.3g} ({_z(default['z'])} sigma)",
                f"by permutation it would be {_z(plain['z'])} sigma: efficiencies and fakes alone",
            )
        )  # fmt: skip
    return out


def _z(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _pm(row: Spec) -> str:
    return f"{row['mean']:.2f} +- {row['error']:.2f}"


def _median(value: Spec) -> str:
    return f"{value['median_z']:.2f} +- {value['error']:.2f}"


def nplm_text(study: Spec, seed: int) -> str:
    """Return the study as Markdown.

    Args:
        study: Of the record.
        seed: Of everything drawn.
    """
    lines = [
        "# Symmetrised NPLM, arXiv:2401.09530: paper and ours",
        "",
        f"{study['toys']} toys of each row, seed {seed}. Errors are statistical. A carries the "
        "signal. Z of the default is that of redraws of the labels, beyond their reach that of the "
        "closed law of its kernel (of a narrow signal a lower limit: the scan has no law); the "
        "network has 39 redraws, so that 1.96 is its largest Z.",
        "",
        *_table(
            ("quantity", "paper", "ours", "why different"),
            [(r["quantity"], r["paper"] or "-", r["ours"], r["why"]) for r in study["table"]],
        ),
        "",
        "## The null of t_sym by Adam, 2000 events per sample",
        "",
        *_table(
            ("unit", "epochs", "mean t", "KS p against chi2_12"),
            [
                (r["unit"], r["epochs"], _pm(r), f"{r['chi2_12_ks_p']:.2g}")
                for r in study["epochs"]
            ],
        ),
        "",
        "Largest t of step functions with four steps, where the loss would end: "
        + ", ".join(
            f"{_pm(row)} for {row['events']} events per sample" for row in study["change_points"]
        )
        + ".",
        "",
        "## Signals, and luminosity",
        "",
        *_table(
            ("signal", "of events", "t_id", "Z_id, background known", "Z of known shape",
             "ideal Z, 12 d.o.f.", "default", "network"),
            [_signal(r) for r in (*study["signals"], *study["luminosity"])],
        ),
        "",
        "## What the source leaves unstated",
        "",
        "The numbers depend on these, and no statement of them was found; so",
        "",
        *(f"- {line}" for line in study["unstated"]),
        "",
        "## Earlier public work",
        "",
        *(f"- {line}" for line in study["prior_work"]),
    ]  # fmt: skip
    if study.get("sample") is None:
        lines += [
            "",
            "The collinear mass of a sample was not tested: give --analysis "
            "workspaces/higgs_lfv_asymmetric/analysis.yml of the repository, or your own.",
        ]
    return "\n".join(lines) + "\n"


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    return [
        f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}",
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
    ]  # fmt: skip


def _signal(row: Spec) -> tuple[Any, ...]:
    ours = [_median(row[name]) if name in row else "-" for name in ("default", "network")]
    return (
        f"{row['signal']} {row['events']}", row["background"], f"{row['t_ideal']:.4f}",
        f"{row['z_known_background']:.3f}", f"{row['z_known_shape']:.2f}",
        f"{row['z_ideal']:.2f}", *ours,
    )  # fmt: skip
