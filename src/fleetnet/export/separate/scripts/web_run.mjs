// Answer pixels with model.onnx in onnxruntime-web's WebAssembly, on one thread; see channel.py.

import { readFileSync, writeSync } from "node:fs";
import { pathToFileURL } from "node:url";

const folder = process.argv[2];
const settings = JSON.parse(readFileSync(`${folder}/settings.json`, "utf-8"));

function say(good, content) {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(good, 0);
  head.writeUInt32LE(content.length, 4);
  const message = Buffer.concat([head, content]);
  for (let sent = 0; sent < message.length;) {
    try {
      sent += writeSync(1, message, sent);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

const reason = (error) => Buffer.from(String(error?.message ?? error).replace(/\s+/g, " ").slice(0, 1000));

async function opened() {
  const ort = await import(pathToFileURL(`${settings.runtime}/ort.wasm.bundle.min.mjs`));
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  ort.env.wasm.wasmBinary = readFileSync(`${settings.runtime}/ort-wasm-simd-threaded.wasm`);
  const session = await ort.InferenceSession.create(readFileSync(`${folder}/model.onnx`));
  return async (pixels, count) => {
    const side = Math.round(Math.sqrt(pixels.length / count / 3));
    const tensor = new ort.Tensor("uint8", new Uint8Array(pixels), [count, side, side, 3]);
    const { logits } = await session.run({ pixels: tensor }, ["logits"]);
    return Buffer.from(logits.data.buffer, logits.data.byteOffset, logits.data.byteLength);
  };
}

/** Gives so many bytes of the input at a time; null at its end. */
function reader() {
  const chunks = process.stdin[Symbol.asyncIterator]();
  let held = Buffer.alloc(0);
  return async (count) => {
    const parts = [held];
    let have = held.length;
    while (have < count) {
      const { value, done } = await chunks.next();
      if (done) return null;
      parts.push(value);
      have += value.length;
    }
    const all = Buffer.concat(parts);
    held = all.subarray(count);
    return all.subarray(0, count);
  };
}

async function answer() {
  let run;
  try {
    run = await opened();
  } catch (error) {
    say(0, reason(error));
    return;
  }
  say(1, Buffer.from("ready"));
  const read = reader();
  for (let head = await read(8); head !== null; head = await read(8)) {
    const pixels = await read(head.readUInt32LE(4));
    if (pixels === null) return;
    try {
      const began = performance.now();
      const logits = await run(pixels, head.readUInt32LE(0));
      const seconds = Buffer.alloc(8);
      seconds.writeDoubleLE((performance.now() - began) / 1000);
      say(1, Buffer.concat([seconds, logits]));
    } catch (error) {
      say(0, reason(error));
    }
  }
}

await answer();
