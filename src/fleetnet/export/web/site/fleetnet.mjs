// Fleetnet in JavaScript: classifies pictures in a browser or in Node.js, with the answers of Python.

import { addressOf, contentOf } from "./addresses.mjs";
import { Core } from "./core.mjs";
import { checkedManifest, graphOf } from "./manifest.mjs";
import { GRID, heatOf, hider } from "./heat.mjs";
import { MAX_PIXELS, pictureOf } from "./pictures.mjs";
import { best, certaintyOf, logOdds, probabilitiesOf } from "./probabilities.mjs";
import { networks } from "./runtime.mjs";

const MANIFEST = "fleetnet.json";
const CORE = "fleetnet-core.wasm";
const SELF_TEST = 1e-3; // by how much a probability may differ from the trained network's
const TIMED = 3;

/** A network with its classes. Make one by `Classifier.open`. */
export class Classifier {
  #core;
  #network;

  constructor(manifest, core, network, maxPixels) {
    this.manifest = manifest;
    this.classes = manifest.classes;
    this.engine = network.engine;
    this.maxPixels = maxPixels;
    this.#core = core;
    this.#network = network;
  }

  /** Opens a folder's address (in Node.js a path too), or `{manifest, model, core}`. */
  static async open(source = ".", options = {}) {
    const files = typeof source === "string" || source instanceof URL ? await read(source, options) : source;
    const manifest = checkedManifest(files.manifest);
    const graph = graphOf(manifest, options.precision);
    const model = bytesOf(files.model ?? (await files.readModel(graph.file.name)));
    await checkFile(model, graph.file);
    const core = await Core.of(bytesOf(files.core));
    const base = options.base ?? import.meta.url;
    const network = await chosen(networks(model, { ...options, base }), manifest, graph);
    return new Classifier(manifest, core, network, options.maxPixels ?? MAX_PIXELS);
  }

  /** Classifies one picture; see `fleetnet.d.mts` for what it may be and what comes back. */
  async classify(source, { topK = 5, heatMap = false, signal } = {}) {
    const began = performance.now();
    const { preprocess } = this.manifest;
    const options = { sampleBits: preprocess.sample_bits ?? null, maxPixels: this.maxPixels };
    const picture = await pictureOf(source, options);
    signal?.throwIfAborted();
    const decoded = performance.now();
    const { width, height } = picture;
    const pixels = await this.#core.input(picture, preprocess);
    const prepared = performance.now();
    const logits = await this.#network.run(pixels, preprocess.crop);
    const done = performance.now();
    const probabilities = this.probabilities(logits);
    const predictions = best(probabilities, topK).map((index) => (
      { index, class: this.classes[index], probability: probabilities[index] }
    ));
    const ms = { decode: decoded - began, prepare: prepared - decoded, compute: done - prepared };
    const judged = this.judged(logits);
    const answer = { predictions, ...judged, probabilities, logits, width, height, ms };
    if (heatMap === false) return answer;
    const index = heatMap === true ? predictions[0].index : heatMap;
    return { ...answer, heat: await this.#heat(pixels, { width, height }, logits, index, signal) };
  }

  /** Returns a picture as the network takes it, crop × crop RGB triples. */
  async input(source) {
    const { preprocess } = this.manifest;
    const options = { sampleBits: preprocess.sample_bits ?? null, maxPixels: this.maxPixels };
    return this.#core.input(await pictureOf(source, options), preprocess);
  }

  /** Returns the logits of such an input. */
  logits(pixels) {
    return this.#network.run(pixels, this.manifest.preprocess.crop);
  }

  /** Returns the probability of each class, by temperature and activation of the manifest. */
  probabilities(logits) {
    return probabilitiesOf(logits, this.manifest.model.activation, this.manifest.calibration?.temperature);
  }

  /** Returns whether the answer counts, by the manifest's threshold, and the score that it is of. */
  judged(logits) {
    const { rejection = null, calibration } = this.manifest;
    if (rejection === null) return { rejected: false, score: null };
    const score = certaintyOf(logits, rejection.score, calibration?.temperature);
    return { rejected: !(score >= rejection.threshold), score };
  }

  close() {
    return this.#network.close();
  }

  async #heat(pixels, size, logits, index, signal) {
    const { preprocess, model, calibration } = this.manifest;
    if (!(index in this.classes)) throw new RangeError(`there is no class ${index}`);
    const odds = (found) => logOdds(found, index, model.activation, calibration?.temperature);
    const hidden = hider(pixels, preprocess.crop);
    const found = [];
    let lowest = 1;
    for (let place = 0; place < GRID * GRID; place += 1) {
      signal?.throwIfAborted();
      const changed = await this.logits(hidden(Math.floor(place / GRID), place % GRID));
      lowest = Math.min(lowest, this.probabilities(changed)[index]);
      found.push(odds(changed));
      await new Promise((resolve) => setTimeout(resolve)); // lets what waits have its turn
    }
    const frame = await this.#core.frame(size, preprocess);
    const probability = this.probabilities(logits)[index];
    return { index, heat: heatOf(odds(logits), found), frame, probability, lowest };
  }
}

/** Reads manifest and core of a folder, and gives what reads the model once its name is known. */
async function read(source, { core }) {
  const folder = await addressOf(source);
  const fetched = async (name, base = folder) => contentOf(new URL(name, base));
  return {
    manifest: new TextDecoder().decode(await fetched(MANIFEST)),
    core: core ?? (await fetched(CORE, import.meta.url)),
    readModel: fetched,
  };
}

function bytesOf(content) {
  if (content instanceof ArrayBuffer) return new Uint8Array(content);
  if (content instanceof Uint8Array) return content;
  throw new TypeError("model and core must be an ArrayBuffer or a Uint8Array");
}

/** Refuses a model that is not the one that the manifest describes. */
async function checkFile(content, { name, bytes, sha256 }) {
  const damaged = new Error(`${name} is not the file that fleetnet.json describes: it is cut off or was changed`);
  if (content.length !== bytes) throw damaged;
  // Pages without a secure context have no hashes, and what they fetch could be changed anyway.
  const digest = await globalThis.crypto?.subtle?.digest("SHA-256", content);
  if (digest === undefined) return;
  const hex = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hex !== sha256) throw damaged;
}

/** Returns the fastest network of the first list in which one answers as the trained one does. */
async function chosen(lists, manifest, { precision }) {
  let failure = null;
  for await (const list of lists) {
    let found = null;
    for (const open of list) {
      try {
        const network = await open();
        const milliseconds = await tested(network, manifest, precision);
        const slower = found !== null && milliseconds >= found.milliseconds;
        await (slower ? network : found?.network)?.close();
        if (!slower) found = { network, milliseconds };
      } catch (error) {
        failure ??= error;
      }
    }
    if (found !== null) return found.network;
  }
  throw failure;
}

/** Holds a network to the manifest's self-test, and returns how long a run takes. */
async function tested(network, manifest, precision) {
  const { preprocess, model, self_test: test, calibration } = manifest;
  const side = preprocess.crop;
  const input = madeUp(side);
  const logits = await network.run(input, side);
  if (logits.length !== model.num_classes) {
    throw new Error(`the graph gives ${logits.length} logits for ${model.num_classes} classes`);
  }
  const expected = test?.logits?.[0];
  if (expected && precision === "fp32") {
    const one = probabilitiesOf(logits, model.activation, calibration?.temperature);
    const other = probabilitiesOf(expected, model.activation, calibration?.temperature);
    const difference = Math.max(...one.map((value, index) => Math.abs(value - other[index])));
    if (!(difference <= SELF_TEST)) {
      throw new Error(`${network.engine.name} answers the self-test with probabilities that differ by ${difference}`);
    }
  }
  const times = [];
  for (let run = 0; run < TIMED; run += 1) {
    const began = performance.now();
    await network.run(input, side);
    times.push(performance.now() - began);
  }
  return Math.min(...times);
}

/** Returns the first image of the self-test, as every host makes it. */
function madeUp(side) {
  return Uint8Array.from({ length: 3 * side * side }, (_, k) => Math.imul(k + 1, 2654435761) >>> 24);
}
