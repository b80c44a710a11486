"""Chapter of a measurement without a null: its value, errors, tested value, derived quantities."""

from __future__ import annotations

from ddphf.report.page import headline, text
from ddphf.report.tables import Table, number
from ddphf.results.measured import MeasurementStatement

__all__ = ["measured_parts"]


def measured_parts(s: MeasurementStatement) -> list[str]:
    """Return what a measurement without a null states.

    Args:
        s: Of the record of the fit.

    Example:
        >>> s = MeasurementStatement("R", 1.0, 0.1, 0.1, -0.1, 0.06, 0.08, None, (), None, (), "")
        >>> "R = 1 &plusmn; 0.1" in measured_parts(s)[0]
        True
    """
    error = "(no error)" if not s.error else f"+- {s.error:.3g}"
    parts = [
        headline(f"{s.poi} = {s.value:.6g} {error}"),
        text(
            "A measurement: there is no null hypothesis, so there is no significance and no upper "
            "limit."
        ),
    ]
    rows: list[tuple[str, ...]] = [("profile error up", number(s.error_up, 5))]
    rows.append(("profile error down", number(s.error_down, 5)))
    rows.append(("by the counts (statistical)", number(s.statistical, 5)))
    rows.append(("by auxiliary data (systematic)", number(s.systematic, 5)))
    if s.frozen is not None:
        rows.append(
            ("statistical, all constrained parameters held", number(s.frozen["statistical"], 5))
        )
    for i in s.intervals:
        low, high = (number(i[key], 7) or "bound" for key in ("low", "high"))
        rows.append((f"interval at {i['level']:.2%}", f"{low} to {high}"))
    if s.tested is not None:
        t = s.tested
        p = "" if t.p_two_sided is None else f", two-sided p = {t.p_two_sided:.3g}"
        rows.append((f"{s.poi} = {t.value:.7g} tested", f"t = {t.t:.5g}{p}"))
    parts.append(Table(f"measurement of {s.poi}", ("", "value"), tuple(rows)).to_html())
    if s.derived:
        cells = tuple(
            (d.name, number(d.value, 6), *(number(x, 4) for x in
             (d.error, d.statistical, d.systematic)), _inputs(d.inputs))
            for d in s.derived
        )  # fmt: skip
        columns = ("", "value", "error", "statistical", "systematic", "of")
        parts.append(Table(f"derived of {s.poi}", columns, cells).to_html())
    return parts


def _inputs(inputs: dict[str, object]) -> str:
    flat: dict[str, object] = {}
    for key, value in inputs.items():
        flat.update({f"{key} {k}": v for k, v in value.items()} if isinstance(value, dict) else
                    {key: value})  # fmt: skip
    return ", ".join(
        f"{key.replace('_', ' ')} {value:.10g}"
        for key, value in flat.items()
        if isinstance(value, float)
    )
