// The table of all results: filtered, sorted, a page at a time, each row opening on what is known of it.

const PAGE = 100;
const NAMES = ["formulation", "backend", "dtype", "output"];
const SPEED = ["time_median_s", "interval", "time_min_s", "gflops", "peak_fraction", "gbps", "samples", "converged", "overhead_fraction", "noise", "peak_memory_bytes", "flops", "bytes", "timer", "cache"];
const ELEMENT = ["worst_index", "worst_input", "worst_computed", "worst_exact"];
const VIEWS = {
  main: { title: "verdict, digits, time", columns: ["verdict", "outcome", "digits", "bound_ratio", "max_ulp", "time_median_s", "interval", "reason"] },
  accuracy: { title: "accuracy", columns: null },
  element: { title: "worst element", columns: ["outcome", "max_ulp", ...ELEMENT] },
  speed: { title: "speed", columns: ["digits", ...SPEED] },
  all: { title: "every column", columns: null },
};
const HEADS = {
  case: { title: "Case" },
  where: { title: "At", about: "values of the axes" },
  digits: { title: "Digits left", display: "digits", about: "log₁₀2 · bits: decimal digits left" },
  interval: { title: "± 95 %", display: "percent", about: "half the 95 % interval of the median time, as a share of it" },
};

const makeResults = (root, results) => {
  const { data, known, column, at } = results;
  const state = { words: "", verdict: "", chosen: "", view: "main", sort: null, down: false, page: 0, open: new Set() };
  let order = Uint32Array.from({ length: data.rows }, (_, n) => n);
  let searched = null;

  // ---- what is shown ----

  const has = (name) => {
    const cases = column("case");
    return column(name).some((value, row) => value !== null && (!state.chosen || cases[row] === state.chosen));
  };
  const differs = (name) => new Set([...order].map((row) => at(name, row))).size > 1;
  const filledColumns = new Map();
  const isFilled = (name) => {
    const key = `${state.chosen}\n${name}`;
    if (!filledColumns.has(key)) filledColumns.set(key, has(name));
    return filledColumns.get(key);
  };
  const axesOf = (chosen) => {
    const names = new Set();
    column("case").forEach((value, n) => value === chosen && Object.keys(at("place", n)[1]).forEach((axis) => names.add(`axis.${axis}`)));
    return [...names];
  };
  const columns = () => {
    const rest = [...known.keys()].filter((name) => !NAMES.includes(name));
    const beside = new Set([...SPEED, ...ELEMENT, "reason", "severity", "device", "inputs_digest", "time_ci_low_s", "time_ci_high_s", "calls"]);
    const names = VIEWS[state.view].columns
      ?? (state.view === "all" ? ["digits", ...rest] : ["outcome", "digits", ...rest.filter((name) => !beside.has(name) && name !== "outcome" && name !== "verdict")]);
    const places = state.chosen ? axesOf(state.chosen) : ["case", "where"];
    const first = [...NAMES.filter((name) => name !== "output" || differs("output")), ...places];
    return [...first, ...names].filter(isFilled);
  };
  const head = (name) => {
    const found = HEADS[name] ?? known.get(name) ?? { title: name.replace(/^axis\./, ""), display: "axis" };
    const titled = name.startsWith("axis.") && data.cases[state.chosen]?.axes?.[name.slice(5)];
    return { ...found, title: titled || found.title };
  };
  const isNumeric = (name) => column(name).some((value) => typeof value === "number");

  // ---- filter ----

  const texts = () => {
    searched ??= column("cell").map((cell, n) =>
      [cell, at("output", n), at("verdict", n), at("outcome", n), at("reason", n), data.cases[at("case", n)]?.title].join(" ").toLowerCase());
    return searched;
  };
  const compares = {
    "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b, "=": (a, b) => a === b,
  };
  const columnNamed = (name) =>
    ["digits", "interval"].includes(name) || known.has(name) ? name
      : data.place.texts.some(([, axes]) => name in axes) ? `axis.${name}` : null;
  // A word that occurs in the row, one that does not (-word), or a comparison of a number (max_ulp>100).
  const testOf = (word) => {
    const [, name, sign, limit] = /^([\w.]+)(<=|>=|<|>|=)(.+)$/.exec(word) ?? [];
    const compared = name && columnNamed(name);
    if (compared && !Number.isNaN(Number(limit)) && isNumeric(compared)) {
      const values = column(compared);
      return (row) => typeof values[row] === "number" && compares[sign](values[row], Number(limit));
    }
    const all = texts();
    if (word.length > 1 && word.startsWith("-")) return (row) => !all[row].includes(word.slice(1));
    return (row) => all[row].includes(word);
  };
  const filter = () => {
    const tests = state.words.toLowerCase().split(/\s+/).filter(Boolean).map(testOf);
    if (state.verdict) tests.push((row) => at("verdict", row) === state.verdict);
    if (state.chosen) tests.push((row) => at("case", row) === state.chosen);
    const kept = [];
    for (let row = 0; row < data.rows; row++) if (tests.every((test) => test(row))) kept.push(row);
    order = Uint32Array.from(kept);
  };

  // ---- sort ----

  const collator = new Intl.Collator("en", { numeric: true });
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b || 0 : collator.compare(String(a), String(b)));
  // Missing values come last whichever way; equal ones stay in the order of the plan.
  const sort = () => {
    if (!state.sort) return;
    const values = column(state.sort);
    order.sort((a, b) => {
      const [x, y] = [values[a], values[b]];
      if (x === null || y === null) return (x === null) - (y === null) || a - b;
      return (state.down ? compare(y, x) : compare(x, y)) || a - b;
    });
  };
  const sortBy = (name) => {
    if (state.sort !== name) Object.assign(state, { sort: name, down: false });
    else if (!state.down) state.down = true;
    else Object.assign(state, { sort: null, down: false });
    refresh();
    table.tHead.querySelector(`[data-column="${CSS.escape(name)}"]`)?.focus();
  };

  // ---- one row in full ----

  const pairs = (row) => [...known.values()]
    .filter(({ name }) => !ELEMENT.includes(name) && !["reason", "verdict"].includes(name) && at(name, row) !== null)
    .map(({ name, title, unit, display }) => {
      const value = at(name, row);
      const short = shown(value, display);
      const full = typeof value === "number" && Number.isFinite(value) && !(display === "percent" && short.length < 6) && Number.parseFloat(short.replaceAll(",", "")) !== value ? ` (${value})` : "";
      return make("div", {}, make("dt", { title: name }, title), make("dd", {}, short + (unit && display !== "seconds" && typeof value === "number" ? ` ${unit}` : ""), make("small", {}, full)));
    });
  const elementTable = (worst) => make("table", { class: "element" },
    make("caption", {}, make("span", {}, "Worst element ", make("code", {}, worst.place))),
    make("thead", {}, make("tr", {}, ...["", "decimal", "hexadecimal"].map((text) => make("th", { scope: "col", class: "t" }, text)))),
    make("tbody", {}, ...(worst.input ? [make("tr", {}, make("th", { scope: "row", class: "t" }, "input"), make("td", { class: "t" }), make("td", { class: "t" }, worst.input))] : []),
      ...["computed", "exact"].map((word) => make("tr", {}, make("th", { scope: "row", class: "t" }, word),
      make("td", { class: "t" }, worst[word].decimal), make("td", { class: "t" }, worst[word].hexadecimal || MISSING)))));
  const commandList = (found) => make("dl", { class: "commands" },
    make("dt", {}, "Run this cell again"), make("dd", {}, make("code", {}, found.run)),
    make("dt", {}, "Certify its reference"), make("dd", {}, make("code", {}, found.reference)));
  const detail = (row, width) => {
    const [worst, commands] = [worstElement(results, row), commandsOf(results, row)];
    const box = make("div", { class: "inside" },
      make("p", {}, make("code", {}, at("cell", row))),
      make("p", {}, make("span", { class: `v ${at("verdict", row) ?? ""}` }, at("verdict", row) ?? "not judged"), at("reason", row) ? `: ${at("reason", row)}` : ""));
    if (worst) box.append(elementTable(worst));
    if (commands) box.append(commandList(commands));
    box.append(make("dl", { class: "facts" }, ...pairs(row)));
    addCopying(box);
    return make("tr", { class: "detail", id: `detail-${row}` }, make("td", { colspan: width }, box));
  };
  const toggle = (row, line) => {
    const button = line.querySelector("button");
    const opened = !state.open.has(row);
    button.setAttribute("aria-expanded", opened);
    if (opened) { state.open.add(row); line.after(detail(row, line.cells.length)); }
    else { state.open.delete(row); line.nextElementSibling.remove(); }
  };

  // ---- drawing ----

  const line = (row, names, heads, numeric) => {
    const cells = names.map((name, n) => {
      const value = at(name, row);
      const text = shown(value, heads[n].display);
      if (n === 0) {
        const button = make("button", { type: "button", "aria-expanded": state.open.has(row), title: at("cell", row) }, text || at("cell", row));
        return make("th", { scope: "row", class: "t" }, button);
      }
      const full = typeof value === "number" && String(value) !== text.replaceAll(",", "") ? String(value) : undefined;
      const kind = numeric[n] ? undefined : ["verdict", "reason", ...ELEMENT.slice(1)].includes(name) ? `t ${name}` : "t";
      return make("td", { class: kind, title: full ?? (name === "reason" ? text : undefined) }, text);
    });
    return make("tr", { class: at("verdict", row) ?? "none", "data-row": row }, ...cells);
  };
  const drawHead = (names, heads, numeric) => {
    table.tHead.replaceChildren(make("tr", {}, ...names.map((name, n) => {
      const button = make("button", { type: "button", "data-column": name }, heads[n].title);
      if (heads[n].unit && heads[n].display !== "seconds") button.append(make("small", {}, heads[n].unit));
      button.addEventListener("click", () => sortBy(name));
      const sorted = state.sort === name ? (state.down ? "descending" : "ascending") : "none";
      return make("th", { scope: "col", class: numeric[n] ? undefined : "t", "aria-sort": sorted, title: [name, heads[n].about].filter(Boolean).join(": ") }, button);
    })));
  };
  const draw = () => {
    const names = columns();
    const [heads, numeric] = [names.map(head), names.map(isNumeric)];
    const pages = Math.max(1, Math.ceil(order.length / PAGE));
    state.page = Math.min(state.page, pages - 1);
    const visible = order.subarray(state.page * PAGE, (state.page + 1) * PAGE);
    drawHead(names, heads, numeric);
    const lines = [];
    for (const row of visible) {
      lines.push(line(row, names, heads, numeric));
      if (state.open.has(row)) lines.push(detail(row, names.length));
    }
    table.tBodies[0].replaceChildren(...lines);
    const number = (n) => n.toLocaleString("en");
    const first = state.page * PAGE + 1;
    told.textContent = `${order.length === data.rows ? "" : `${number(order.length)} of `}${number(data.rows)} ${data.rows === 1 ? "row" : "rows"}`;
    range.textContent = order.length ? `${number(first)}–${number(first + visible.length - 1)} of ${number(order.length)}` : "no row matches";
    [back.disabled, onward.disabled] = [state.page === 0, state.page >= pages - 1];
    pager.hidden = pages === 1 && order.length > 0;
  };
  const refresh = () => { state.page = 0; filter(); sort(); draw(); };
  const turn = (by) => {
    state.page += by;
    draw();
    scroller.scrollTop = 0;
    focusLine(0);
  };

  // ---- keyboard ----

  const buttons = () => [...table.tBodies[0].querySelectorAll("tr[data-row] > th > button")];
  const focusLine = (n) => {
    const all = buttons();
    all.at(Math.max(0, Math.min(all.length - 1, n)))?.focus();
  };
  const moves = { ArrowDown: (n) => focusLine(n + 1), ArrowUp: (n) => focusLine(n - 1), Home: () => focusLine(0), End: () => focusLine(Infinity) };
  const onKey = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const n = buttons().indexOf(document.activeElement);
    if (n < 0) return;
    if (moves[event.key]) moves[event.key](n);
    else if (event.key === "PageDown" && !onward.disabled) turn(1);
    else if (event.key === "PageUp" && !back.disabled) turn(-1);
    else if (event.key === "Escape") words.focus();
    else return;
    event.preventDefault();
  };

  // ---- the parts ----

  const choice = (entries) => make("select", {}, ...entries.map(([value, text]) => make("option", { value }, text)));
  const words = make("input", { type: "search", placeholder: "softmax -torch digits<3", "aria-describedby": "filter-help", autocomplete: "off", spellcheck: "false" });
  const verdict = choice([["", "any"], ...["fail", "inconclusive", "pass"].map((word) => [word, word])]);
  const cases = choice([["", "all"], ...Object.keys(data.cases).filter((name) => column("case").includes(name)).map((name) => [name, name])]);
  const view = choice(Object.entries(VIEWS).map(([name, { title }]) => [name, title]));
  const told = make("output", {});
  const form = make("form", { class: "find", role: "search" },
    make("label", {}, "Filter ", make("kbd", {}, "/"), words), make("label", {}, "Verdict", verdict),
    make("label", {}, "Case", cases), make("label", {}, "Columns", view), told);
  const table = make("table", { class: "data" },
    make("caption", {}, make("span", {}, "All results; a row opens on its worst element and its command")), make("thead"), make("tbody"));
  const scroller = make("div", { class: "scroll tall", role: "group", "aria-label": "All results", tabindex: "0" }, table);
  const [back, onward] = ["Previous", "Next"].map((text) => make("button", { type: "button" }, text));
  const range = make("span", { "aria-live": "polite" });
  const pager = make("p", { class: "pager" }, back, range, onward);
  const keys = [["/", "filter"], ["↑ ↓", "rows"], ["Enter", "opens a row"], ["PgUp PgDn", "pages"], ["Esc", "back to the filter, and out of it"]];
  const help = make("p", { class: "about", id: "filter-help" },
    "A word must occur in the row; ", make("code", {}, "-word"), " must not; ", make("code", {}, "max_ulp>100"), " or ", make("code", {}, "n=64"),
    " compares a column. A click on a head sorts up, down, and back to the order of the run. Numbers have four digits here, all of them in ", make("code", {}, "results.csv"), ".",
    make("span", { class: "keys" }, "Keys: ", ...keys.flatMap(([key, does]) => [make("kbd", {}, key), ` ${does}   `])));
  const skipped = data.skipped ? [make("p", { class: "about" }, `${data.skipped.toLocaleString("en")} rows of skipped cells are not among these; `, make("a", { href: "#skipped" }, "their reasons"), ".")] : [];
  root.append(form, help, scroller, pager, ...skipped);

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    Object.assign(state, { words: words.value, verdict: verdict.value, chosen: cases.value, view: view.value });
    refresh();
  });
  words.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && words.value) { words.value = ""; form.dispatchEvent(new Event("input")); event.preventDefault(); }
    else if (event.key === "Escape") words.blur();
    else if (event.key === "ArrowDown") { focusLine(0); event.preventDefault(); }
  });
  scroller.addEventListener("keydown", onKey);
  back.addEventListener("click", () => turn(-1));
  onward.addEventListener("click", () => turn(1));
  table.tBodies[0].addEventListener("click", (event) => {
    const line = event.target.closest("tr[data-row]");
    if (line && (event.target.closest("button") || !String(getSelection()))) toggle(Number(line.dataset.row), line);
  });
  addEventListener("keydown", (event) => {
    const typing = event.target instanceof Element && event.target.closest("input[type=search], select, textarea");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) { words.focus(); words.select(); event.preventDefault(); }
  });
  refresh();

  const show = ({ chosen = "", columns: name = "main", filtered = "" }) => {
    [words.value, verdict.value, cases.value, view.value] = [filtered, "", chosen, name];
    Object.assign(state, { words: filtered, verdict: "", chosen, view: name, sort: null, down: false });
    refresh();
  };
  return {
    show,
    open(row) {
      show({ chosen: at("case", row) });
      const place = order.indexOf(row);
      state.page = Math.floor(place / PAGE);
      state.open = new Set([row]);
      draw();
      const button = table.querySelector(`tr[data-row="${row}"] button`);
      button.scrollIntoView({ block: "center" });
      button.focus({ preventScroll: true });
    },
  };
};
