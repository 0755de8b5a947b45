// onnxruntime-web: its WebAssembly, or WebGPU where there is one.

import { contentOf, isLocal } from "./addresses.mjs";

const WASM = { module: "ort.wasm.bundle.min.mjs", binary: "ort-wasm-simd-threaded.wasm" };
const WEBGPU = { module: "ort.webgpu.bundle.min.mjs", binary: "ort-wasm-simd-threaded.asyncify.wasm" };
const MOST_THREADS = 4; // beyond, small networks gain nothing

/** A network that is loaded. Its runs wait for each other. */
export class Network {
  #ort;
  #session;
  #turn = Promise.resolve();

  constructor(ort, session, engine) {
    this.#ort = ort;
    this.#session = session;
    this.engine = engine;
  }

  /** Returns the logits of one input, side × side × 3 bytes. */
  run(pixels, side) {
    const tensor = new this.#ort.Tensor("uint8", pixels, [1, side, side, 3]);
    const done = this.#turn.then(() => this.#session.run({ pixels: tensor }, ["logits"]));
    this.#turn = done.catch(() => {});
    return done.then(({ logits }) => Float32Array.from(logits.data));
  }

  async close() {
    await this.#turn;
    await this.#session.release();
  }
}

/** Yields lists of what can be tried, the better lists first; each is a function that gives a `Network`. */
export async function* networks(graph, { engine = "auto", threads, ort, base, wasmBinary }) {
  const gpu = engine === "webgpu" || (engine === "auto" && !ort);
  if (gpu && (await globalThis.navigator?.gpu?.requestAdapter().catch(() => null))) {
    const loaded = await loadedRuntime(WEBGPU, { base, threads });
    const both = engine === "auto" ? ["webgpu", "wasm"] : ["webgpu"];
    yield both.map((provider) => () => opened(loaded, graph, provider));
  } else if (engine === "webgpu") throw new Error("this browser has no WebGPU, or no device for it");
  if (engine === "webgpu") return;
  if (ort && !wasmBinary) yield [() => opened({ ort, threads: threads ?? null }, graph, null)];
  else yield [async () => opened(await loadedRuntime(WASM, { base, threads, ort, wasmBinary }), graph, "wasm")];
}

async function loadedRuntime({ module, binary }, { base, threads, ort: given, wasmBinary }) {
  const ort = given ?? (await import(new URL(module, base).href));
  const isolated = globalThis.crossOriginIsolated === true;
  const cores = globalThis.navigator?.hardwareConcurrency ?? 1;
  const count = threads ?? (isolated ? Math.min(MOST_THREADS, Math.ceil(cores / 2)) : 1);
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = count;
  const url = wasmBinary ? null : new URL(binary, base);
  if (url === null || isLocal(url)) ort.env.wasm.wasmBinary = wasmBinary ?? (await contentOf(url));
  else ort.env.wasm.wasmPaths = { wasm: url.href };
  return { ort, threads: count };
}

async function opened({ ort, threads }, graph, provider) {
  const options = provider === null ? {} : { executionProviders: [provider] };
  const session = await ort.InferenceSession.create(graph, options);
  const name = provider === "webgpu" ? "WebGPU" : provider === "wasm" ? "WebAssembly" : "given";
  return new Network(ort, session, { name, threads, simd: provider === "wasm" });
}
