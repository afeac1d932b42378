// What the page does beside its table: marks of figures tell themselves, commands are copied, links open rows.

const addCopying = (root) => {
  for (const code of root.querySelectorAll(".commands code")) {
    const button = make("button", { type: "button", class: "copy", "aria-label": "Copy the command" }, "Copy");
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    code.after(button);
  }
};

// Figures whose marks tell themselves.
const HOLDERS = "svg.panel, .forest";

// A mark tells itself under the pointer, and under the arrow keys where its figure has the focus.
const addTelling = () => {
  const tip = make("div", { class: "tip", role: "status", hidden: true });
  document.body.append(tip);
  const told = new WeakMap();
  let current = null;
  // The browser's own tooltip would come too, so what it says is taken over when it is first asked for.
  const words = (mark) => {
    if (!told.has(mark)) {
      const title = mark.querySelector("title");
      told.set(mark, title && [mark.parentElement.dataset.n, title.textContent].filter(Boolean).join(": "));
      title?.remove();
    }
    return told.get(mark);
  };
  const put = () => {
    const at = current.getBoundingClientRect();
    const [width, height] = [tip.offsetWidth, tip.offsetHeight];
    const left = Math.max(8, Math.min(document.documentElement.clientWidth - width - 8, at.left + at.width / 2 - width / 2));
    tip.style.left = `${left}px`;
    tip.style.top = `${at.top - height - 8 >= 0 ? at.top - height - 8 : at.bottom + 8}px`;
  };
  const hide = () => { tip.hidden = true; current?.classList.remove("current"); current = null; };
  const tell = (mark) => {
    current?.classList.remove("current");
    current = mark;
    mark.classList.add("current");
    tip.textContent = words(mark);
    tip.hidden = false;
    put();
  };
  document.addEventListener("pointerover", (event) => {
    const mark = event.target.closest?.(`:is(${HOLDERS}) g[data-n] > *`);
    if (mark && words(mark)) tell(mark);
    else if (current && !event.target.closest?.(".tip")) hide();
  });
  // Focus may scroll the page: what the keys tell moves with its mark, what the pointer told goes.
  const onScroll = () => { if (current?.closest(HOLDERS) === document.activeElement) put(); else hide(); };
  addEventListener("scroll", onScroll, { passive: true, capture: true });
  // Marks of a panel follow one another to the right, those of a list downwards.
  const place = (mark) => { const box = mark.getBoundingClientRect(); return mark.closest(".forest") ? box.top : box.left; };
  document.addEventListener("keydown", (event) => {
    const panel = event.target.closest?.(HOLDERS);
    if (!panel) return;
    if (event.key === "Escape") { hide(); return; }
    const marks = [...panel.querySelectorAll("g[data-n] > *")].filter(words).sort((a, b) => place(a) - place(b));
    const at = marks.indexOf(current);
    const steps = { ArrowRight: at + 1, ArrowLeft: at < 0 ? marks.length - 1 : at - 1, Home: 0, End: marks.length - 1 };
    if (panel.matches(".forest")) Object.assign(steps, { ArrowDown: steps.ArrowRight, ArrowUp: steps.ArrowLeft });
    if (!(event.key in steps) || !marks.length) return;
    const next = marks[(steps[event.key] + marks.length) % marks.length];
    if (panel.matches(".forest")) next.closest("li").scrollIntoView({ block: "nearest" });
    tell(next);
    event.preventDefault();
  });
  document.addEventListener("focusout", (event) => { if (event.target.closest?.(HOLDERS)) hide(); });
};

// Figures for which there was no room as they are: put in their place when their case is opened.
const unpack = async (place) => {
  const packed = place.dataset.packed;
  if (!packed) return;
  delete place.dataset.packed;
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const drawn = new DOMParser().parseFromString(await new Response(stream).text(), "text/html");
  place.prepend(...drawn.body.children);
};
const addUnpacking = () => {
  const unpackIn = (root) => Promise.all([...root.querySelectorAll("[data-packed]")].map(unpack));
  for (const place of document.querySelectorAll("[data-packed]")) if (!place.closest("details:not([open])")) unpack(place);
  document.addEventListener("toggle", (event) => { if (event.target.open) unpackIn(event.target); }, true);
};

// Small tables that stand in the page: their heads sort them.
const addSorting = (table) => {
  const collator = new Intl.Collator("en", { numeric: true });
  const key = (cell) => {
    const text = cell.textContent.trim();
    const [, start, unit] = /^([-\d.,e]+)(?: (s|ms|µs|ns|\[.*\]|→.*))?$/.exec(text) ?? [];
    const number = start === undefined ? NaN : Number(start.replaceAll(",", "")) * ({ ms: 1e-3, "µs": 1e-6, ns: 1e-9 }[unit] ?? 1);
    return text === "" || text === MISSING ? null : Number.isNaN(number) ? text : number;
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : collator.compare(String(a), String(b)));
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = make("button", { type: "button" }, ...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].map((row) => [key(row.cells[column]), row]);
      rows.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : down ? compare(b, a) : compare(a, b)));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
};

// The table of pairs: a word must occur in a row, -word must not; a verdict may be chosen.
const addFinding = (table) => {
  const rows = [...table.tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]);
  const words = make("input", { type: "search", placeholder: "softmax -torch", autocomplete: "off", spellcheck: "false" });
  const verdict = make("select", {}, ...["", "fail", "inconclusive", "pass"].map((name) => make("option", { value: name }, name || "any")));
  const told = make("output", {});
  const form = make("form", { class: "find", role: "search" }, make("label", {}, "Filter", words), make("label", {}, "Verdict", verdict), told);
  const find = () => {
    const tests = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const holds = (text) => tests.every((word) => (word.length > 1 && word.startsWith("-") ? !text.includes(word.slice(1)) : text.includes(word)));
    let kept = 0;
    for (const [row, text] of rows) { row.hidden = !holds(text) || (verdict.value !== "" && row.className !== verdict.value); kept += !row.hidden; }
    told.textContent = `${kept === rows.length ? "" : `${kept} of `}${rows.length} ${rows.length === 1 ? "pair" : "pairs"}`;
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", find);
  table.parentElement.before(form);
  find();
};

const addFolding = () => {
  const folded = [...document.querySelectorAll("details.case")];
  // What a link points at is opened, and everything for paper.
  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const closed = target && target.closest("details:not([open])");
    if (closed) { closed.open = true; target.scrollIntoView(); }
  };
  addEventListener("hashchange", reveal);
  reveal();
  let closed = [];
  addEventListener("beforeprint", () => { closed = [...document.querySelectorAll("details:not([open])")]; for (const one of closed) one.open = true; });
  addEventListener("afterprint", () => { for (const one of closed) one.open = false; });
  if (folded.length < 2) return;
  const button = make("button", { type: "button", class: "fold" });
  const name = () => { button.textContent = folded.every((one) => one.open) ? "Close all cases" : "Open all cases"; };
  button.addEventListener("click", () => { const open = !folded.every((one) => one.open); for (const one of folded) one.open = open; });
  for (const one of folded) one.addEventListener("toggle", name);
  name();
  document.querySelector("nav").append(button);
};

const place = document.getElementById("table");
const results = place && makeResults(place, readResults(JSON.parse(document.getElementById("data").textContent)));
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-row], a[data-case]");
  if (!link) return;
  if (link.dataset.row) { event.preventDefault(); results.open(Number(link.dataset.row)); }
  else results.show({ chosen: link.dataset.case, columns: link.dataset.view });
});
addCopying(document);
addTelling();
addUnpacking();
addFolding();
document.querySelectorAll("table.sortable").forEach(addSorting);
document.querySelectorAll("table.pairs-of").forEach(addFinding);
