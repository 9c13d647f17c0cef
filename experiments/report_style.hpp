// The report's style sheet: light and dark by the reader's setting, no network, wide tables scroll inside their frame.
#pragma once

namespace soup {

inline constexpr const char* report_style = R"css(
:root { color-scheme: light dark;
  --page: #fbfaf8; --card: #ffffff; --ink: #1d2129; --soft: #5b6472; --line: #e2e0db; --tint: #fdf3e3;
  --accent: #b4560f; --good: #12734a; --bad: #b3261e; --bar: #e3a45f; }
@media (prefers-color-scheme: dark) { :root {
  --page: #15171b; --card: #1d2026; --ink: #e7e9ec; --soft: #9aa4b2; --line: #31363f; --tint: #2d2619;
  --accent: #f0a35a; --good: #5fd39b; --bad: #ff8a80; --bar: #9a6a35; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
main, header, footer { max-width: 1180px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 40px; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3em; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; margin: 2.6em 0 .5em; }
h3 { font-size: 1rem; margin: 1.8em 0 .5em; }
p { max-width: 76ch; margin: .6em 0; }
.eyebrow { color: var(--accent); font-weight: 600; font-size: .85rem; margin: 0 0 .4em; }
.lead { color: var(--soft); max-width: 80ch; }
.note { color: var(--soft); font-size: .9rem; }
.verdict { background: var(--card); border: 1px solid var(--line); border-left: 5px solid var(--accent);
  border-radius: 8px; padding: 18px 22px; margin: 24px 0; }
.verdict .headline { font-size: 1.3rem; line-height: 1.35; font-weight: 600; margin: 0 0 .4em; max-width: 60ch; }
.verdict ul { margin: .5em 0; padding-left: 1.2em; }
.frame { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; margin: 12px 0; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 9px; text-align: right; white-space: nowrap; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--soft); font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--card); }
tbody th { font-weight: 500; }
tr.soup > * { background: var(--tint) !important; font-weight: 600; }
tr.real > * { color: var(--soft); }
td.text, th.text { text-align: left; white-space: normal; min-width: 12ch; }
.se { color: var(--soft); font-size: .85em; font-weight: 400; }
.scores th, .scores td { padding: 5px 7px; } .scores thead th { white-space: normal; }
.scores .se { display: block; line-height: 1.1; }
.best { color: var(--accent); font-weight: 700; }
.good { color: var(--good); } .bad { color: var(--bad); }
.good::before { content: "▲ "; font-size: .75em; } .bad::before { content: "▼ "; font-size: .75em; }
.grid { display: grid; gap: 6px; align-items: center; padding: 14px; min-width: 720px; font-size: .85rem; }
.grid .name { padding-right: 8px; line-height: 1.25; }
.grid .name.soup { font-weight: 700; color: var(--accent); }
.grid .prompt { align-self: end; text-align: center; color: var(--soft); font-size: .75rem; line-height: 1.25;
  overflow-wrap: anywhere; }
.cell { aspect-ratio: 1; border-radius: 5px; background-repeat: no-repeat; background-color: #fff;
  box-shadow: 0 0 0 1px var(--line); }
.plot { padding: 10px 14px; color: var(--ink); min-width: 640px; }
.plot svg { display: block; width: 100%; height: auto; }
.bar { display: inline-block; height: .8em; background: var(--bar); border-radius: 2px; vertical-align: baseline; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 12px 0; font-size: .9rem; }
dl.facts dt { color: var(--soft); } dl.facts dd { margin: 0; overflow-wrap: anywhere; }
code, pre { font: .84rem/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
code { overflow-wrap: anywhere; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px; overflow-x: auto; }
details > summary { cursor: pointer; font-weight: 600; margin: 1em 0 .4em; }
footer { color: var(--soft); font-size: .85rem; padding-top: 36px; padding-bottom: 48px; }
@media (max-width: 640px) { main, header, footer { padding-left: 14px; padding-right: 14px; } h1 { font-size: 1.5rem; }
  dl.facts { grid-template-columns: 1fr; } dl.facts dd { margin-bottom: .5em; } }
@media print { .frame { overflow: visible; } details > *:not(summary) { display: block; } }
)css";

}  // namespace soup
