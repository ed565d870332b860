"""Results as text, as the README's table in Markdown, and as a picture."""

from pathlib import Path
from typing import Any

from entrants import WORKLOADS
from goals import GOALS, Results

ARRAYS, SCALARS = ("T1", "T4", "T2", "T3"), ("S1a", "S1b", "S3")

# The README's rows: what an engine is called there, its label among the arrays, and among the scalars
ROWS = [
    ("**microgrid**", "microgrid", "microgrid"),
    ("**microgrid**, a node a neuron", "", "microgrid, a node a neuron"),
    ("**microgrid**, compiled", "microgrid, compiled", "microgrid, compiled, levels"),
    ("**microgrid**, compiled to Python", "", "microgrid, compiled, Python"),
    ("**microgrid**, compiled to C", "microgrid, compiled, C", ""),
    ("closed-form NumPy", "closed-form NumPy", ""),
    ("NumPy, buffers tuned by hand", "NumPy, buffers tuned by hand", ""),
    ("micrograd", "", "micrograd"),
    ("torch", "torch, eager", "torch, scalars"),
    ("torch.compile, whole step", "torch.compile, whole step", ""),
    ("jax.jit, a call a step", "jax.jit, a call a step", ""),
    ("jax lax.scan, 100 steps a call", "jax lax.scan, 100 steps a call", ""),
    ("numba, closed form", "numba, closed form", ""),
    ("HIPS autograd", "HIPS autograd", ""),
    ("tinygrad, JIT", "tinygrad, JIT", ""),
    ("scikit-learn, partial_fit", "scikit-learn, partial_fit", ""),
]


def found(results: Results, workload: str, label: str) -> dict[str, Any]:
    rows = results.get("workloads", {}).get(workload, {}).get("entrants", [])
    return next((row for row in rows if row["label"] == label), {})


# ------------------------------------------------------------------------------------------------------------ text


def races(name: str, result: dict[str, Any]) -> str:
    """The table of one workload."""
    kind = "times as fast as" if result["speed"] else "time over that of"
    lines = [f"\n{name}  {result['title']}: {kind} {result['against']}"]
    lines.append(f"  {'microseconds a step':36} {'wall':>12} {'processor':>12} {'ratio':>9}   of the sets of processes")
    for row in result["entrants"]:
        if "absent" in row:
            lines.append(f"  {row['label']:36} {'FAILED' if row.get('failed') else 'absent'}: {row['absent']}")
            continue
        ratio = f"{row['ratio']:9.2f}   {row['low']:.2f} .. {row['high']:.2f}" if "ratio" in row else ""
        lines.append(f"  {row['label']:36} {row['wall'] * 1e6:12.1f} {row['processors'] * 1e6:12.1f} {ratio}")
    return "\n".join(lines)


def operations(rows: list[dict[str, Any]]) -> str:
    labels = list(rows[0])[2:]
    lines = ["\noperations  forward and backward, microseconds; and ours over torch's"]
    lines.append(f"  {'':32} {'numbers':>7}" + "".join(f"{label:>16}" for label in labels))
    for row in rows:
        cells = [
            f"{row[label] * 1e6:16.2f}" if isinstance(row[label], float) else f"{'absent':>16}" for label in labels
        ]
        ours, theirs = row["microgrid"], row["torch, eager"]
        ratio = f"{ours / theirs:9.2f}" if isinstance(ours, float) and isinstance(theirs, float) else ""
        lines.append(f"  {row['operation']:32} {row['size']:7}{''.join(cells)} {ratio}")
    return "\n".join(lines)


def memory(sizes: dict[str, Any]) -> str:
    lines = ["\nmemory  bytes a node of the graph of S1b, by tracemalloc"]
    return "\n".join([*lines, *(f"  {label:36} {_number(size, '12.0f')}" for label, size in sizes.items())])


def imports(seconds: dict[str, Any]) -> str:
    lines = ["\nimports  milliseconds of the processor, medians of fresh processes"]
    return "\n".join([*lines, *(f"  {label:36} {_number(s, '12.1f', 1e3)}" for label, s in seconds.items())])


def captures(seconds: dict[str, dict[str, Any]]) -> str:
    lines = ["\ncaptures  milliseconds of the processor for the first step, nothing cached"]
    for workload, found in seconds.items():
        lines += [f"  {workload:4} {label:36} {_number(s, '12.1f', 1e3)}" for label, s in found.items()]
    return "\n".join(lines)


def _short(x: float) -> str:
    return f"{x:.3g}" if x < 100 else f"{x:,.0f}"


def _number(found: Any, form: str, times: float = 1.0) -> str:
    return format(found * times, form) if isinstance(found, float) else f"absent: {found}"


def goals(results: Results) -> str:
    """The table of goals: must, stretch, what was reached."""
    lines = [f"\n{'goals':62} {'must':>8} {'stretch':>8} {'reached':>9}"]
    for goal in GOALS:
        reached = goal.reached(results)
        shown, stretch = (_short(x) if x is not None else "-" for x in (reached, goal.stretch))
        bound = f"{'>=' if goal.more else '<='} {_short(goal.must)}"
        lines.append(f"  {goal.what:60} {bound:>8} {stretch:>8} {shown:>9}  {goal.verdict(reached)}")
    verdicts = [goal.verdict(goal.reached(results)) for goal in GOALS]
    measured = [verdict for verdict in verdicts if verdict != "not measured"]
    met = [verdict for verdict in measured if verdict.endswith("met")]
    lines.append(
        f"  {len(met)} of {len(measured)} met, {met.count('stretch met')} of them to the stretch; "
        f"{len(GOALS) - len(measured)} not measured"
    )
    return "\n".join(lines)


# -------------------------------------------------------------------------------------------------------- Markdown


def markdown(results: Results) -> str:
    """The README's table: of arrays the time over the closed form's, of scalars how many times as fast as micrograd."""
    header = ["", *ARRAYS, *SCALARS]
    lines = [header, ["---", *["---:"] * (len(header) - 1)]]
    for name, arrays, scalars in ROWS:
        cells = [_cell(found(results, workload, arrays)) for workload in ARRAYS]
        cells += [_cell(found(results, workload, scalars)) for workload in SCALARS]
        lines.append([name, *cells])
    return "\n".join("|" + "|".join(f" {cell} " if cell else " " for cell in line) + "|" for line in lines)


def _cell(row: dict[str, Any]) -> str:
    if "ratio" not in row:
        return "–" if row else ""
    return f"{row['ratio']:.2f}" if row["ratio"] < 10 else f"{row['ratio']:,.0f}"


# --------------------------------------------------------------------------------------------------------- picture

OURS, PEER, HAND, INK, FAINT = "#c0392b", "#8793a1", "#2c5f8a", "#222222", "#e3e7eb"
KEY = [(OURS, "microgrid"), (HAND, "written by hand"), (PEER, "other engines")]


def picture(results: Results, path: Path) -> None:
    """A panel for each workload, an engine a row, on one logarithmic axis for the arrays and one for the scalars."""
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, 4, figsize=(13.5, 7.4), height_ratios=(13, 7), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.12)
    figure.suptitle("What a training step costs", x=0.01, ha="left", fontsize=16, fontweight="bold", color=INK)
    for row, workloads in ((panels[0], ARRAYS), (panels[1], SCALARS)):
        ratios = [
            entrant["ratio"] for name in workloads for entrant in _shown(results, name).values() if "ratio" in entrant
        ]
        for axes, name in zip(row, workloads, strict=False):
            _panel(axes, name, _shown(results, name), min(ratios, default=1), max(ratios, default=1))
            axes.set_yticklabels([] if name != workloads[0] else [text.get_text() for text in axes.get_yticklabels()])
    _caption(panels[1, 3])
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _shown(results: Results, workload: str) -> dict[str, dict[str, Any]]:
    """By label, the entrants that a picture needs: those with sites or collector off are left to the table."""
    labels = [entrant.label for entrant in WORKLOADS[workload].entrants if " off" not in entrant.label]
    return {label: found(results, workload, label) for label in labels}


def _panel(axes: Any, workload: str, rows: dict[str, dict[str, Any]], least: float, most: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(least / 3, most * 4)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.axvline(1, color=INK, linewidth=0.8, zorder=1)
    for place, (label, row) in enumerate(rows.items()):
        axes.axhline(place, color=FAINT, linewidth=0.7, zorder=0)
        if "ratio" in row:
            _point(axes, place, row["ratio"], _colour(label))
        else:
            axes.text(
                least / 2.6,
                place,
                "absent" if row else "not measured",
                color=PEER,
                fontsize=8,
                va="center",
                style="italic",
            )
    axes.set_yticks(range(len(rows)), rows, fontsize=9.5)
    for text, label in zip(axes.get_yticklabels(), rows, strict=True):
        text.set_color(OURS if _colour(label) == OURS else INK)
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([])
    axes.minorticks_off()
    for side in axes.spines.values():
        side.set_visible(False)
    kind, _, rest = WORKLOADS[workload].title.partition(", ")
    axes.set_title(f"{workload}   {kind}\n{rest}", fontsize=9.5, loc="left", color=INK, linespacing=1.4)


def _point(axes: Any, place: int, ratio: float, colour: str) -> None:
    """A line from 1 to the ratio, its end marked and written beside."""
    axes.plot([1, ratio], [place, place], color=colour, linewidth=2.5, alpha=0.4, solid_capstyle="butt")
    axes.plot(ratio, place, "o", color=colour, markersize=6.5)
    right = ratio >= 1
    axes.annotate(
        f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}",
        (ratio, place),
        (7 if right else -7, 0),
        textcoords="offset points",
        fontsize=8.5,
        color=INK,
        ha="left" if right else "right",
        va="center",
    )


def _colour(label: str) -> str:
    return OURS if label.startswith("microgrid") else HAND if "NumPy" in label else PEER


def _caption(axes: Any) -> None:
    axes.set_axis_off()
    for place, (colour, text) in enumerate(KEY):
        axes.plot(0.03, 0.92 - 0.12 * place, "o", color=colour, markersize=7, transform=axes.transAxes, clip_on=False)
        axes.text(0.09, 0.92 - 0.12 * place, text, fontsize=9.5, va="center", color=INK, transform=axes.transAxes)
    words = (
        "T: time over that of closed-form NumPy;\nless is better.\n\nS: times as fast as micrograd;\nmore is better."
    )
    axes.text(0.02, 0.5, words, fontsize=9.5, va="top", color=INK, transform=axes.transAxes, linespacing=1.5)
