// What answers the page: a worker with the network, so that the page never stands still.

import { inlineAddress } from "./inline.js";

/** Asks the worker as the playground asks its server. */
export class LocalApi {
  words = { rest: "To the worker and back", all: "Altogether" };
  name = "";
  #waiting = new Map();
  #number = 0;
  #broken = null;

  constructor(inline) {
    this.worker = new Worker(inline ? inlineAddress("worker.mjs") : "worker.mjs", { type: "module" });
    this.worker.addEventListener("message", ({ data }) => this.#told(data));
    this.worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#failed(event.message || "its worker cannot be started");
    });
  }

  /** Opens the network, of the page's folder or of the files that are in the page. */
  async open(files) {
    this.opened = this.#ask("open", files);
    const found = await this.opened;
    this.name = found.manifest.model.name;
    return found;
  }

  async classify(file, model, version, signal) {
    const began = performance.now();
    await this.opened;
    const waited = performance.now() - began; // until the network was there
    const found = await this.#ask("classify", { file, topK: 5 }, signal);
    const timing = { queue_ms: waited + found.ms.queue, decode_ms: found.ms.decode + found.ms.prepare, compute_ms: found.ms.compute };
    const { predictions: top, rejected, score } = found;
    return { model: this.name, version: "", timing, predictions: [{ error: null, top, rejected, score }] };
  }

  async explain(file, model, version, index, signal) {
    return (await this.#ask("classify", { file, topK: 1, heatMap: index }, signal)).heat;
  }

  #ask(call, given, signal) {
    if (this.#broken !== null) return Promise.reject(this.#broken);
    this.#number += 1;
    const id = this.#number;
    const asked = performance.timeOrigin + performance.now();
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      signal?.addEventListener("abort", () => {
        this.worker.postMessage({ id, call: "stop" });
        this.#waiting.delete(id);
        reject(signal.reason);
      }, { once: true });
      this.worker.postMessage({ id, call, given, asked });
    });
  }

  #told({ id, value, error }) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(value);
    else waiting?.reject(new Error(error));
  }

  #failed(text) {
    this.#broken = new Error(text);
    for (const { reject } of this.#waiting.values()) reject(this.#broken);
    this.#waiting.clear();
  }
}
