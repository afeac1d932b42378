"use strict";
// The results of the page: columns unpacked when they are asked for, numbers and words as a reader sees them.

const MISSING = "—";
const DIGITS_PER_BIT = Math.log10(2);

const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
};

// ---- columns ----

// `item*3` stands for three items; an empty item is a missing value.
const expanded = (text, count) => {
  const items = [];
  if (count === 0) return items;
  for (const item of text.split(" ")) {
    const star = item.lastIndexOf("*");
    const value = star < 0 ? item : item.slice(0, star);
    for (let n = star < 0 ? 1 : Number(item.slice(star + 1)); n > 0; n--) items.push(value);
  }
  return items;
};

const filled = (item, patterns) => {
  const [index, ...numbers] = item.split(":");
  return patterns[index].map((part, n) => part + (numbers[n] ?? "")).join("");
};

const asNumber = (item) => (item === "inf" ? Infinity : item === "-inf" ? -Infinity : Number(item));

const unpacked = (column, count) => {
  const items = expanded(column.items, count);
  if (column.kind === "plain") return items.map((item) => item || null);
  if (column.kind === "pattern") return items.map((item) => (item === "" ? null : filled(item, column.texts)));
  if (column.texts) return items.map((item) => (item === "" ? null : column.texts[item]));
  return items.map((item) => (item === "" ? null : asNumber(item)));
};

const readResults = (data) => {
  const known = new Map(data.columns.map((column) => [column.name, column]));
  const values = new Map();
  const raw = (name, column) => {
    if (!values.has(name)) values.set(name, unpacked(column, data.rows));
    return values.get(name);
  };
  const derived = {
    case: () => raw("case", data.case),
    place: () => raw("place", data.place),
    select: () => raw("select", data.select),
    where: () => column("place").map(([rest]) => rest.replace(/^\//, "").replace(/\/backward$/, "").replaceAll(",", ", ") || null),
    cell: () => column("place").map(([rest], n) => rest.startsWith("=") ? rest.slice(1)
      : [column("case"), column("formulation"), column("backend"), column("dtype")].map((c) => c[n] ?? "").join("/") + rest),
    digits: () => column("bits").map((bits) => (bits === null ? null : Math.max(0, bits * DIGITS_PER_BIT))),
    interval: () => column("time_median_s").map((middle, n) => {
      const [low, high] = [column("time_ci_low_s")[n], column("time_ci_high_s")[n]];
      return middle && low !== null && high !== null ? (high - low) / 2 / middle : null;
    }),
  };
  const column = (name) => {
    if (values.has(name)) return values.get(name);
    if (name.startsWith("axis.")) {
      const axis = name.slice(5);
      values.set(name, column("place").map(([, axes]) => axes[axis] ?? null));
    } else if (derived[name]) {
      values.set(name, derived[name]());
    } else {
      return known.has(name) ? raw(name, known.get(name)) : new Array(data.rows).fill(null);
    }
    return values.get(name);
  };
  return { data, known, column, at: (name, row) => column(name)[row] };
};

// ---- numbers as they are shown ----

const grouped = (value, places) =>
  value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });

// To three significant digits: plain from 0.001 to 9,999, else with an exponent.
const significant = (value) => {
  if (value === 0) return "0";
  const [mantissa, exponent] = value.toExponential(2).split("e").map(Number);
  if (exponent < -3 || exponent > 3) return `${mantissa.toFixed(2)}e${exponent}`;
  return grouped(mantissa * 10 ** exponent, Math.max(0, 2 - exponent));
};

const seconds = (value) => {
  if (value === 0) return "0 s";
  for (const [scale, unit] of [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]]) {
    if (Math.abs(value) >= 0.9995 * scale) return `${significant(value / scale)} ${unit}`;
  }
  return `${significant(value / 1e-9)} ns`;
};

// 0 and 100 only where the share is 0 or 1.
const percent = (share) => {
  if (share === 0 || share === 1) return `${100 * share} %`;
  const text = (100 * share).toFixed(1);
  if (Number(text) === 0) return share > 0 ? "< 0.1 %" : "> -0.1 %";
  return `${text !== "100.0" ? text : share < 1 ? "99.9" : "100.1"} %`;
};

const shown = (value, display) => {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "-∞";
  if (display === "axis") return String(value);
  if (display === "digits") return value.toFixed(1);
  if (display === "seconds") return seconds(value);
  if (display === "percent") return percent(value);
  if (display === "fixed" && Math.abs(value) < 1e6) return grouped(value, 2);
  return Number.isInteger(value) && Math.abs(value) < 1e15 ? grouped(value, 0) : significant(value);
};

// ---- the worst element ----

const ELEMENT_WORDS = { nan: "not a number", inf: "∞", "-inf": "-∞" };

// Sign, all digits as one integer, and the power of ten that scales it; null for what is no number.
const decimalParts = (text) => {
  const match = /^(-?)(\d+)(?:\.(\d*))?(?:e([+-]?\d+))?$/i.exec(text);
  if (!match) return null;
  const fraction = match[3] ?? "";
  return { sign: match[1], digits: match[2] + fraction, power: Number(match[4] ?? 0) - fraction.length };
};

const floorLog2 = (n, d) => {
  const exponent = n.toString(2).length - d.toString(2).length;
  const below = exponent >= 0 ? n < d << BigInt(exponent) : n << BigInt(-exponent) < d;
  return exponent - (below ? 1 : 0);
};

const hexDigits = (n, d, smallest, digits) => {
  let exponent = floorLog2(n, d);
  if (exponent < smallest && smallest <= exponent + 4 * digits) exponent = smallest;
  const shift = 4 * digits - exponent;
  const [top, bottom] = shift >= 0 ? [n << BigInt(shift), d] : [n, d << BigInt(-shift)];
  const whole = top / bottom;
  const unit = 1n << BigInt(4 * digits);
  const fraction = digits ? "." + (whole % unit).toString(16).padStart(digits, "0") : "";
  return { text: `${whole / unit}${fraction}`, exponent, rest: top % bottom !== 0n };
};

// A binary number as a fraction: its shortest decimal text stands for no other, but is not its value.
const binaryFraction = (value) => {
  let [n, d] = [Math.abs(value), 1n];
  for (; !Number.isInteger(n); n *= 2) d *= 2n;
  return [BigInt(n), d];
};

// Orders of magnitude of which a number is spelt in hexadecimal too: far more than any format has.
const MOST_ORDERS = 5000;

// As `float.hex` writes it, in a format of some precision; an exact value has two digits more.
const hexadecimal = (text, [precision, smallest], beyond) => {
  const cut = text.endsWith("…");
  const parts = decimalParts(cut ? text.slice(0, -1) : text);
  if (!parts || Math.abs(parts.power + parts.digits.length) > MOST_ORDERS) return "";
  const integer = BigInt(parts.digits);
  if (integer === 0n) return `${parts.sign}0x0.0p+0`;
  const scale = 10n ** BigInt(Math.abs(parts.power));
  const [n, d] = !beyond ? binaryFraction(Number(text)) : parts.power >= 0 ? [integer * scale, 1n] : [integer, scale];
  const digits = Math.ceil((precision - 1) / 4) + beyond;
  let found = hexDigits(n, d, smallest, digits);
  if (found.rest && beyond) {
    const told = Math.floor(Math.floor((integer.toString().length - 1) * Math.log2(10)) / 4);
    found = hexDigits(n, d, smallest, Math.max(1, Math.min(digits, told)));
  }
  const sign = found.exponent < 0 ? "" : "+";
  return `${parts.sign}0x${found.text}${found.rest || cut ? "…" : ""}p${sign}${found.exponent}`;
};

const worstElement = (results, row) => {
  const [index, computed, exact] = ["index", "computed", "exact"].map((part) => results.at(`worst_${part}`, row));
  if (index === null || (computed === null && exact === null)) return null;
  const format = results.data.formats[results.at("dtype", row)];
  const spelled = (text, beyond) => ({
    decimal: text === null ? MISSING : ELEMENT_WORDS[text] ?? text,
    hexadecimal: text === null || !format ? "" : hexadecimal(text, format, beyond),
  });
  return { place: `${results.at("output", row) ?? "output"}[${index}]`, input: results.at("worst_input", row), computed: spelled(computed, 0), exact: spelled(exact, 2) };
};

// ---- commands ----

const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`);

const commandsOf = (results, row) => {
  const { path } = results.data.cases[results.at("case", row)];
  if (!path) return null;
  const cell = results.at("cell", row);
  const selected = results.at("select", row)?.split("\u0001").join(cell) ?? `-k ${quoted(cell)}`;
  const rest = [quoted(path), selected, results.data.options].filter(Boolean).join(" ");
  return { run: `harness run ${rest}`, reference: `harness reference ${rest}` };
};
