// What a bundle says of itself, checked before anything is done with it.

import { INTERPOLATIONS } from "./core.mjs";

const FIELDS = ["resize", "crop", "interpolation", "mean", "std", "sample_bits"];
const SCORES = ["energy", "max-logit", "probability"];
const MAX_SIDE = 4096;

/** Returns the manifest of a text or an object; refuses whatever would change answers unnoticed. */
export function checkedManifest(given) {
  const manifest = typeof given === "string" ? parsed(given) : given;
  if (manifest?.format !== "fleetnet-bundle") throw new Error("fleetnet.json is no manifest of a Fleetnet bundle");
  const version = String(manifest.format_version);
  if (!/^[23]\.\d+$/.test(version)) {
    throw new Error(`fleetnet.json has format_version ${version.slice(0, 20)}, this reads 2.x and 3.x: export again`);
  }
  checkPreprocess(manifest.preprocess);
  const { activation = "softmax", num_classes: count } = manifest.model ?? {};
  if (activation !== "softmax" && activation !== "sigmoid") {
    throw new Error(`fleetnet.json has an unknown activation ${JSON.stringify(activation)}`);
  }
  const { classes } = manifest;
  const named = Array.isArray(classes) && classes.every((name) => typeof name === "string");
  if (!named || classes.length < 1 || classes.length !== count) {
    throw new Error(`fleetnet.json has no name for each of ${count} classes`);
  }
  const temperature = manifest.calibration?.temperature ?? 1;
  if (!(Number.isFinite(temperature) && temperature >= 1e-6)) {
    throw new Error(`fleetnet.json has the temperature ${temperature}, which must be at least 1e-6`);
  }
  checkRejection(manifest.rejection ?? null, version, activation);
  return manifest;
}

function checkRejection(rejection, version, activation) {
  if (rejection === null) return;
  if (version.startsWith("2.")) throw new Error(`fleetnet.json has a rejection, which is of version 3.0, not of ${version}`);
  if (activation !== "softmax") throw new Error("fleetnet.json has a rejection for images of any number of classes");
  if (!SCORES.includes(rejection.score)) {
    throw new Error(`fleetnet.json rejects by an unknown score ${JSON.stringify(rejection.score)}`);
  }
  if (!Number.isFinite(rejection.threshold)) throw new Error("fleetnet.json has a rejection without a threshold");
}

/** Returns the artifact that is an ONNX graph for any batch: the one in `precision`, or the first. */
export function graphOf(manifest, precision) {
  const graphs = (manifest.artifacts ?? []).filter((one) => one.format === "onnx" && one.batch == null);
  const found = precision === undefined ? graphs[0] : graphs.find((one) => one.precision === precision);
  const file = found?.files?.[0];
  if (file === undefined) throw new Error(`fleetnet.json names no ONNX graph${precision ? ` in ${precision}` : ""}`);
  const plain = /^[^/\\:]+$/.test(file.name) && file.name !== "." && file.name !== "..";
  if (!plain) throw new Error(`fleetnet.json names the file ${JSON.stringify(file.name)}, which is no plain name`);
  return { ...found, file };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("fleetnet.json is not valid JSON: the bundle is damaged");
  }
}

function checkPreprocess(preprocess) {
  if (typeof preprocess !== "object" || preprocess === null) throw new Error("fleetnet.json lacks preprocess");
  const unknown = Object.keys(preprocess).find((name) => !FIELDS.includes(name));
  if (unknown !== undefined) throw new Error(`fleetnet.json has an unknown preprocess.${unknown}: update this page`);
  const { resize, crop, interpolation, sample_bits: bits = null } = preprocess;
  const whole = (value, least, most) => Number.isInteger(value) && value >= least && value <= most;
  if (!whole(resize, 1, MAX_SIDE) || !whole(crop, 1, resize)) {
    throw new Error(`fleetnet.json resizes to ${resize} and crops to ${crop}, which no host can`);
  }
  if (!INTERPOLATIONS.includes(interpolation)) {
    throw new Error(`fleetnet.json has an unknown interpolation ${JSON.stringify(interpolation)}`);
  }
  if (bits !== null && !whole(bits, 8, 16)) throw new Error(`fleetnet.json has sample_bits ${bits}, not 8 to 16`);
}
