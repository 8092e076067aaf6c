"""A bar chart as SVG: delivered events per second on a scale of powers of ten, readable on light and dark ground."""

import math
from collections.abc import Mapping
from xml.sax.saxutils import escape

_ROW, _BAR = 26, 16
_LABELS, _WIDTH, _FIGURES, _TOP = 330, 420, 70, 34
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .rule { stroke: #8886 } .tocsin { fill: #2563eb } .other { fill: #8b949e } .axis { fill: #6e7781 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .tocsin { fill: #6ea8fe } .other { fill: #7d8590 } .axis { fill: #9da7b3 }
  }"""


def bars(title: str, values: Mapping[str, float]) -> str:
    """The chart; a name that begins with Tocsin stands out."""
    shown = {name: value for name, value in values.items() if value > 0}
    low = math.floor(math.log10(min(shown.values(), default=1)))
    high = max(math.ceil(math.log10(max(shown.values(), default=10))), low + 1)

    def along(value: float) -> float:
        return (math.log10(value) - low) / (high - low) * _WIDTH

    height = _TOP + _ROW * len(shown) + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LABELS + _WIDTH + _FIGURES} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}\n</style>",
        f'<text x="0" y="16">{escape(title)}</text>',
    ]
    for power in range(low, high + 1):
        x = _LABELS + along(10**power)
        parts.append(f'<line class="rule" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6}" y2="{height - 20}"/>')
        parts.append(f'<text class="axis" x="{x:.1f}" y="{height - 4}" text-anchor="middle">{10**power:,}</text>')
    for place, (name, value) in enumerate(shown.items()):
        y = _TOP + _ROW * place
        kind = "tocsin" if name.startswith("Tocsin") else "other"
        length = max(along(value), 1)
        parts += [
            f'<text x="{_LABELS - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{kind}" x="{_LABELS}" y="{y}" width="{length:.1f}" height="{_BAR}" rx="2"/>',
            f'<text x="{_LABELS + length + 6:.1f}" y="{y + 13}">{value:,.0f}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
