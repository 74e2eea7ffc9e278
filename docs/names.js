/* Names the copy buttons that the theme adds to blocks of code, and lets keyboards scroll wide tables. */
let blocks = 0;
new MutationObserver(() => {
  for (const nav of document.querySelectorAll(".md-code__nav:not([aria-label])")) nav.ariaLabel = `Code ${++blocks}`;
  for (const table of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")) table.tabIndex = 0;
}).observe(document.documentElement, { childList: true, subtree: true });
