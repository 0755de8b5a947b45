// The model card: what a bundle says of itself, and what computes it here.

import { bytes, element, facts, percent } from "./elements.js";

const PARTS = { held_out: "Held-out images" };
const FIGURES = {
  top1: "Top-1", top5: "Top-5", mean_average_precision: "Mean average precision",
  exact_match: "Exact match", macro_f1: "Macro F1", images: "Images",
};
const ENGINES = {
  openvino: "OpenVINO", onnxruntime: "ONNX Runtime", torch: "PyTorch", "torch-compiled": "PyTorch, compiled",
};
const MOST_CONFUSED = 12; // classes of a confusion matrix that is shown

/** Returns the card as elements. */
export function modelCard(card) {
  return [about(card), measured(card), verified(card), classes(card), origin(card)].filter(Boolean);
}

function about(card) {
  const { engine, preprocess } = card;
  const threads = engine.threads === 1 ? "1 thread" : `${engine.threads} threads`;
  return facts([
    ["Model", `${card.model}, version ${card.version}`],
    ["Network", card.network],
    ["Classes", `${card.classes.length.toLocaleString("en")}, ${
      card.activation === "softmax" ? "of which an image has one" : "of which an image has any number"}`],
    ["Computed by", `${ENGINES[engine.name] ?? engine.name} in ${engine.precision} on ${engine.device === "cpu" ? "the processor" : engine.device}, ${threads}`],
    ["Input", `short side to ${preprocess.resize}, centre ${preprocess.crop} × ${preprocess.crop}, ${preprocess.interpolation}`],
    ["Calibration", card.calibration && `temperature ${card.calibration.temperature.toFixed(3)}`],
    ["Bundle", element("code", { className: "hash" }, card.bundle)],
  ]);
}

function measured(card) {
  const parts = Object.entries(card.metrics)
    .filter(([, values]) => values !== null && typeof values === "object")
    .map(([key, values]) => measuredPart(PARTS[key] ?? key, values, card.classes))
    .filter(Boolean);
  return parts.length > 0 ? element("div", {}, element("h3", {}, "Measured"), ...parts) : null;
}

function measuredPart(title, values, names) {
  const numbers = Object.entries(values).filter(([, value]) => typeof value === "number");
  if (numbers.length === 0) return null;
  const shown = facts(
    numbers.map(([key, value]) => [FIGURES[key] ?? key, figure(key, value)]), "figures",
  );
  const matrix = confusion(values.confusion, Array.isArray(values.classes) ? values.classes : names);
  return element("div", {}, element("p", { className: "soft" }, title), shown, matrix);
}

function figure(key, value) {
  if (Number.isInteger(value) && key === "images") return value.toLocaleString("en");
  return value >= 0 && value <= 1 ? percent(value) : String(Number(value.toPrecision(5)));
}

function confusion(rows, names) {
  const whole = Array.isArray(rows) && rows.length === names.length && rows.every(Array.isArray);
  if (!whole || names.length > MOST_CONFUSED) return null;
  const total = (row) => row.reduce((sum, value) => sum + value, 0) || 1;
  const head = element("tr", {}, element("th", { scope: "col" }, "is \\ answered"),
    ...names.map((name) => element("th", { scope: "col", className: "name" }, name)));
  const body = rows.map((row, r) =>
    element("tr", {}, element("th", { scope: "row", className: "name" }, names[r]),
      ...row.map((value, c) => {
        const cell = element("td", { className: r === c ? "hit" : "" }, String(value));
        cell.style.setProperty("--share", String(value / total(row)));
        return cell;
      })));
  const table = element("table", { className: "confusion" },
    element("caption", {}, "What the images are, and what was answered"),
    element("thead", {}, head), element("tbody", {}, ...body));
  return scroll(table, "Confusion");
}

function verified(card) {
  const records = card.artifacts.flatMap((artifact) =>
    artifact.verification.map((record) => ({ ...record, precision: artifact.precision })));
  const title = element("h3", {}, "Verified");
  if (records.length === 0) {
    return element("div", {}, title, element("p", { className: "soft" }, "The bundle holds no record of a verification."));
  }
  const head = ["Engine", "Precision", "Images", "Same class", "Largest difference", "One image, one thread"];
  const rows = records.map((record) =>
    element("tr", {},
      element("th", { scope: "row", className: "name" }, `${ENGINES[record.engine] ?? record.engine} ${record.engine_version}`),
      ...[
        record.precision ?? "", record.images.toLocaleString("en"), percent(record.top1_agreement),
        record.max_abs_diff.toExponential(1), `${record.latency_ms.toFixed(2)} ms`,
      ].map((text) => element("td", {}, text))));
  const table = element("table", {},
    element("caption", {}, "Each engine's probabilities beside those of the trained network, measured when the bundle was made"),
    element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
    element("tbody", {}, ...rows));
  return element("div", {}, title, scroll(table, "Verification"));
}

function classes(card) {
  const list = element("ol", { className: "classes" });
  const items = card.classes.map((name, index) => element("li", { value: index, className: "name" }, name));
  list.append(...items);
  const many = card.classes.length > 20;
  const find = element("input", { type: "search", placeholder: "Find a class", "aria-label": "Find a class" });
  const found = element("p", { className: "soft", role: "status" });
  find.addEventListener("input", () => {
    const wanted = find.value.toLowerCase();
    const shown = items.filter((item) => {
      item.hidden = !item.textContent.toLowerCase().includes(wanted);
      return !item.hidden;
    });
    found.textContent = wanted ? `${shown.length} of ${items.length}` : "";
  });
  return element("details", { open: !many },
    element("summary", {}, `Classes (${card.classes.length.toLocaleString("en")})`),
    many ? element("div", { className: "row" }, find, found) : null,
    element("div", { className: "scroll tall", tabIndex: 0, role: "region", "aria-label": "Names of the classes" }, list));
}

function origin(card) {
  const files = card.artifacts.flatMap((artifact) => artifact.files);
  const told = JSON.stringify({ provenance: card.provenance, preprocess: card.preprocess }, null, 2);
  return element("details", {},
    element("summary", {}, "Files and where it comes from"),
    files.length > 0 ? element("ul", { className: "files" }, ...files.map((file) =>
      element("li", {}, element("span", { className: "name" }, file.name), ` ${bytes(file.bytes)} `,
        element("code", { className: "hash soft" }, file.sha256)))) : null,
    element("pre", { className: "scroll tall", tabIndex: 0, role: "region", "aria-label": "Provenance" }, told));
}

function scroll(child, label) {
  return element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": label }, child);
}
