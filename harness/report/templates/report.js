"use strict";
// The page is complete without this: it adds finding, sorting and opening what a link points at.
(() => {
  const results = document.getElementById("results");

  const reveal = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const closed = target && target.closest("details:not([open])");
    if (closed) { closed.open = true; target.scrollIntoView({ block: "center" }); }
  };
  addEventListener("hashchange", reveal);
  reveal();

  const key = (cell) => {
    const text = (cell.title && cell.cellIndex > 0 ? cell.title : cell.textContent).trim();
    const number = Number(text.replaceAll(",", ""));
    return text === "" ? null : Number.isNaN(number) ? text : number;
  };
  const compare = (a, b) =>
    a === null ? 1 : b === null ? -1
      : typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));

  for (const table of document.querySelectorAll("table.data")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row) => [key(row.cells[column]), row]);
        rows.sort(([a], [b]) => (a === null || b === null ? compare(a, b) : down ? compare(b, a) : compare(a, b)));
        body.append(...rows.map(([, row]) => row));
      });
    });
  }

  const bar = document.createElement("form");
  bar.className = "find";
  bar.setAttribute("role", "search");
  bar.innerHTML =
    '<label>Find cells <input type="search" placeholder="softmax naive float16"></label>' +
    '<label>Verdict <select><option value="">any</option><option>fail</option><option>inconclusive</option>' +
    "<option>pass</option><option>skip</option></select></label><output></output>";
  const [words, verdict, told] = [bar.querySelector("input"), bar.querySelector("select"), bar.querySelector("output")];
  const find = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const section of results.querySelectorAll("details.results")) {
      let here = 0;
      for (const row of section.querySelectorAll("tbody tr")) {
        const text = (row.cells[0].title + " " + row.textContent).toLowerCase();
        const match = wanted.every((w) => text.includes(w)) && (!verdict.value || row.classList.contains(verdict.value));
        row.hidden = !match;
        here += match;
      }
      section.hidden = !here;
      if (here && (wanted.length || verdict.value)) section.open = true;
      shown += here;
    }
    told.textContent = wanted.length || verdict.value ? `${shown.toLocaleString("en")} rows` : "";
  };
  bar.addEventListener("input", find);
  bar.addEventListener("submit", (event) => event.preventDefault());
  results.querySelector("details")?.before(bar);
})();
