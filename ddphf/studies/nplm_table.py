"""The table of the study of symmetrised NPLM: paper, ours, why different."""

from __future__ import annotations

from ddphf.arrays import Spec

__all__ = ["nplm_text"]


def nplm_text(study: Spec, seed: int) -> str:
    """Return the study as Markdown.

    Args:
        study: Of the record.
        seed: Of everything drawn.
    """
    lines = [
        "# Symmetrised NPLM, arXiv:2401.09530: paper and ours",
        "",
        f"{study['toys']} toys of each row, seed {seed}. Errors are statistical.",
        "",
        "## The null of t_sym by Adam, 2000 events per sample",
        "",
        "The paper has chi2 of 12 degrees of freedom, mean 12. The loss has no minimum to reach, "
        "so t grows with the epochs, faster in the larger unit of x.",
        "",
        "| unit | epochs | mean t | KS p against chi2_12 |",
        "| --- | ---: | ---: | ---: |",
        *(
            f"| {row['unit']} | {row['epochs']} | {row['mean']:.2f} +- {row['error']:.2f} | "
            f"{row['chi2_12_ks_p']:.2g} |"
            for row in study["epochs"]
        ),
        "",
        "Largest t of step functions with four steps, where the loss would end: "
        + ", ".join(
            f"{row['mean']:.1f} +- {row['error']:.1f} for {row['events']} events per sample"
            for row in study["change_points"]
        )
        + ".",
        "",
        "## Signals",
        "",
        "| signal | of events | t_id | Z_id, background known | Z of known shape | ideal Z, 12 "
        "d.o.f. | default | network | paper | why different |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |",
        *(_signal(row) for row in study["signals"]),
        "",
        "## Permutation",
        "",
        f"Efficiencies {study['permutation']['difference']:.0%} apart at low pT, no signal, "
        f"{study['permutation']['events']} events: p < .05 in "
        f"{study['permutation']['permutation']:.1%} of {study['permutation']['experiments']} "
        f"experiments by permutation, in {study['permutation']['redraws']:.1%} by redraws.",
        "",
        "## What had to be chosen",
        "",
        *(f"- {line}" for line in study["chosen"]),
        "",
        "## Earlier public work",
        "",
        *(f"- {line}" for line in study["prior_work"]),
    ]
    return "\n".join(lines) + "\n"


def _signal(row: Spec) -> str:
    ours = [
        f"{row[name]['median_z']:.2f} +- {row[name]['error']:.2f}" if name in row else "-"
        for name in ("default", "network")
    ]
    why = "Z_id knows background and shape; a test of many shapes at equal sizes cannot reach it"
    return (
        f"| {row['signal']} {row['events']} | {row['background']} | {row['t_ideal']:.4f} | "
        f"{row['z_known_background']:.3f} | {row['z_known_shape']:.2f} | {row['z_ideal']:.2f} | "
        f"{ours[0]} | {ours[1]} | {row['paper'] or '-'} | {why} |"
    )
