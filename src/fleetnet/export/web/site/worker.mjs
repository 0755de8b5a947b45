// The network, in a worker: it is asked by messages, and answers with the same numbers.

import { Classifier } from "./fleetnet.mjs";

const stops = new Map();
let classifier = null;

async function open(files) {
  if (files === null) classifier = await Classifier.open(new URL(".", import.meta.url));
  else {
    const { wasmBinary, runtime, ...inside } = files;
    classifier = await Classifier.open(inside, { ort: await import(runtime), wasmBinary });
  }
  const { manifest, engine } = classifier;
  return { manifest, engine };
}

async function classify({ file, topK, heatMap = false }, id, asked) {
  const queue = Math.max(performance.timeOrigin + performance.now() - asked, 0);
  const stop = new AbortController();
  stops.set(id, stop);
  try {
    const found = await classifier.classify(file, { topK, heatMap, signal: stop.signal });
    return { ...found, ms: { ...found.ms, queue } };
  } finally {
    stops.delete(id);
  }
}

self.addEventListener("message", async ({ data: { id, call, given, asked } }) => {
  if (call === "stop") {
    stops.get(id)?.abort();
    return;
  }
  try {
    self.postMessage({ id, value: await (call === "open" ? open(given) : classify(given, id, asked)) });
  } catch (error) {
    self.postMessage({ id, error: String(error?.message ?? error) });
  }
});
