"""The style of a report's page: its colours in both schemes, on screens and phones, and on A4 paper."""

from __future__ import annotations

from collections.abc import Mapping

from uq4ct.training.evaluation.axes import INK, MUTED, SERIES

DRAWN_COLOURS = ("ink", "muted", "first", "second")  # those that pictures use, too
LIGHT = {
    "ink": INK,
    "muted": MUTED,
    "first": SERIES[0].colour,
    "second": SERIES[1].colour,
    "page": "#ffffff",
    "card": "#f5f7fa",
    "line": "#d5dbe3",
}
DARK = {
    "ink": "#e6e9ee",
    "muted": "#8a94a3",
    "first": "#b8dcff",
    "second": "#bf5f10",
    "page": "#14171b",
    "card": "#1d2228",
    "line": "#353d47",
}


def _variables(colours: Mapping[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


STYLE = (
    f"""
:root {{ color-scheme: light dark; {_variables(LIGHT)} }}
@media screen and (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)} }} }}
"""
    + """
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1, h2, h3, .title { line-height: 1.25; }
h2 { margin-top: 3rem; border-top: 2px solid var(--line); padding-top: 1rem; }
h3 { margin-top: 2.5rem; }
.title { margin: 0 0 .5rem; border: 0; padding: 0; font-size: 1rem; }
nav ul { padding-left: 1.2rem; }
nav li { margin: .2rem 0; }
nav .level-3 { margin-left: 1rem; }
a { color: inherit; }
p, figcaption, dl { max-width: 46rem; }
dt { font-weight: 600; }
dd { margin: 0 0 .4rem 1rem; }
figure { margin: 1.5rem 0; }
figcaption { margin-top: .5rem; font-size: .93rem; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: .4rem; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .35rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
td { white-space: pre; }
td.long { white-space: pre-wrap; min-width: 16rem; overflow-wrap: anywhere; }
tbody tr:last-child > * { border-bottom: 0; }
th { background: var(--card); }
thead th { vertical-align: bottom; }
tr > :first-child { position: sticky; left: 0; max-width: 40vw; overflow-wrap: break-word; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); gap: .75rem; }
.panels svg { width: 100%; max-width: 26rem; height: auto; background: var(--card); border-radius: .4rem; }
@page { size: A4 portrait; margin: 14mm 12mm 16mm; @bottom-right { content: counter(page) " / " counter(pages); } }
@media print {
  :root { font-size: 9.5pt; }
  body { max-width: none; padding: 0; }
  p, figcaption, dl { max-width: none; orphans: 3; widows: 3; }
  h1, h2, h3, .title, h2 + p, h3 + p, dt, tbody tr:first-child { break-after: avoid; break-inside: avoid; }
  figcaption, dd, tbody tr:last-child { break-before: avoid; break-inside: avoid; }
  tr, .panels svg { break-inside: avoid; }
  details::details-content { content-visibility: visible; height: auto; }
  .scroll { overflow: visible; border: 0; }
  table { width: 100%; font-size: 7.5pt; line-height: 1.3; }
  th, td, td.long { padding: 2pt 4pt; white-space: pre-line; min-width: 0; }
  tr > :first-child { position: static; min-width: 28mm; max-width: none; overflow-wrap: anywhere; }
  .panels { grid-template-columns: repeat(3, 1fr); gap: 3mm; }
  .panels:has(> svg:nth-child(4):last-child) { grid-template-columns: repeat(2, 1fr); }
}
"""
)
