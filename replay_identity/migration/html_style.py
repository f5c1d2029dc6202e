"""How the page of a migration looks: on a wide and a narrow screen, by day and by night, and on paper."""

from typing import Final

# Stripes tell what is lost and what is refused to those who see no difference between the colours.
STYLE: Final = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --text: #1b1f24; --faint: #59636e; --line: #d5dae0; --empty: #eceff2;
  --as-is: #2f7d4f; --lossless: #4f8fd0; --lossy: #d99a1c; --refused: #c0392b; --held-back: #8b949e;
  --stripe: rgb(255 255 255 / 45%);
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171b; --text: #e4e8ec; --faint: #9aa4af; --line: #343b43; --empty: #262c33;
    --as-is: #46a870; --lossless: #5b9fe3; --lossy: #e0a83a; --refused: #e2604f; --held-back: #76808b;
    --stripe: rgb(0 0 0 / 40%);
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 68rem; padding: 1.5rem 1rem 3rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
h1 { margin: 0; font-size: 1.7rem; line-height: 1.25; }
h2 { margin: 2.5rem 0 .5rem; padding-top: 1rem; border-top: 2px solid var(--line); font-size: 1.35rem; }
h3 { margin: 1.5rem 0 .4rem; font-size: 1.05rem; }
p { margin: .4rem 0; max-width: 48rem; }
.faint { color: var(--faint); }
.notice { padding: .5rem .8rem; border-left: .3rem solid var(--lossless); background: var(--empty); }
.notice.trouble { border-color: var(--refused); }
.headline { margin: 1rem 0; padding: 0; list-style: none; font-size: 1.15rem; font-weight: 600; }
.bar { display: flex; height: 1rem; overflow: hidden; border-radius: .2rem; background: var(--empty); }
.piece { flex: 0 1 auto; min-width: 2px; }
.gauge { max-width: 32rem; }
.as-is { background: var(--as-is); }
.lossless { background: var(--lossless); }
.lossy { background: repeating-linear-gradient(45deg, var(--lossy) 0 6px, var(--stripe) 6px 8px), var(--lossy); }
.refused { background: repeating-linear-gradient(-45deg, var(--refused) 0 4px, var(--stripe) 4px 6px), var(--refused); }
.held-back { background: var(--held-back); }
.bar, .swatch { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.swatch { flex: none; width: .75em; height: .75em; margin-top: .4em; border-radius: .15em; }
.numbers, .legend { display: flex; flex-wrap: wrap; gap: 0 1.2rem; margin: .25rem 0; padding: 0; list-style: none; }
.numbers, .ways { font-size: .9rem; }
.numbers li, .legend li { display: flex; gap: .4rem; }
.legend { flex-direction: column; font-size: .95rem; }
table { width: 100%; border-collapse: collapse; }
table.narrow { width: auto; min-width: 18rem; }
caption { padding: .2rem 0; text-align: left; color: var(--faint); font-size: .95rem; }
th, td { padding: .45rem .6rem .45rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { font-size: .9rem; color: var(--faint); }
tbody th { width: 30%; font-family: ui-monospace, monospace; font-size: .9rem; font-weight: 600; }
table.narrow tbody th { width: auto; }
.count { width: 5.5rem; padding-right: 1rem; text-align: right; white-space: nowrap; }
.count { font-variant-numeric: tabular-nums; }
dt { font-weight: 600; }
dd { margin: 0 0 .3rem; }
@media (max-width: 40rem) {
  body { padding: 1rem .7rem 2rem; }
  .headline { font-size: 1.05rem; }
  .numbers { display: block; }
}
@media print {
  :root { color-scheme: light; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  tr, .bar, .numbers { break-inside: avoid; }
  h2, h3, caption { break-after: avoid; }
  thead { display: table-header-group; }
}
"""
