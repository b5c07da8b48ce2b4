"""A line of a figure over past runs, as small as a word, with its text for who does not see it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, MARGIN = 120, 28, 3
LEVEL = 0.1


def sparkline(values: Sequence[float | None], label: str, usual: tuple[float, float] | None = None) -> str:
    """Inline SVG in the colour of text: the last value is a point, a gap stays a gap, ``usual`` is a band behind it."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return f'<span class="at-none">{"first" if known else "no data"}</span>'
    edges: list[float] = [*known, *(usual or ())]
    middle = (min(edges) + max(edges)) / 2
    # What differs by less than this share of itself is a level line.
    span: float = max(max(edges) - min(edges), LEVEL * abs(middle)) or 1.0

    def y(value: float) -> float:
        return HEIGHT - MARGIN - ((value - middle) / span + 0.5) * (HEIGHT - 2 * MARGIN)

    step = (WIDTH - 2 * MARGIN) / (len(values) - 1)
    points = [(MARGIN + n * step, None if value is None else y(value)) for n, value in enumerate(values)]
    path, pen = [], "M"
    for x, height in points:
        if height is None:
            pen = "M"
            continue
        path.append(f"{pen}{x:.1f} {height:.1f}")
        pen = "L"
    band = ""
    if usual is not None:
        top, foot = y(usual[1]), y(usual[0])
        band = f'<rect x="0" y="{top:.1f}" width="{WIDTH}" height="{max(1.0, foot - top):.1f}" opacity=".12"/>'
    x, last = next((x, height) for x, height in reversed(points) if height is not None)
    return (
        f'<svg class="at-spark" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{escape(label, quote=True)}" fill="currentColor">{band}'
        f'<path d="{"".join(path)}" fill="none" stroke="currentColor" stroke-width="1.4"/>'
        f'<circle cx="{x:.1f}" cy="{last:.1f}" r="2.4"/></svg>'
    )
