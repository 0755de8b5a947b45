// The files that are inside the page, where it is a single file.

/** Returns the bytes of a part of the page. */
function bytesOf(name) {
  const text = document.getElementById(`file-${name}`).textContent;
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const signs = atob(text);
  const bytes = new Uint8Array(signs.length);
  for (let i = 0; i < signs.length; i += 1) bytes[i] = signs.charCodeAt(i);
  return bytes;
}

/** Returns the content of a file of the page, which is there compressed. */
async function contentOf(name) {
  const stream = new Blob([bytesOf(name)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Returns an address under which a script of the page can be loaded, in a worker too.

Workers of pages from `file:` take no modules from `blob:`. */
export function inlineAddress(name) {
  return `data:text/javascript;base64,${document.getElementById(`file-${name}`).textContent}`;
}

/** Returns what the worker opens in place of a folder. */
export async function inlineFiles() {
  const [manifest, model, core, wasmBinary] = await Promise.all(
    ["fleetnet.json", "model.onnx", "fleetnet-core.wasm", "ort-wasm-simd-threaded.wasm"].map(contentOf),
  );
  return { manifest: new TextDecoder().decode(manifest), model, core, wasmBinary, runtime: inlineAddress("ort.wasm.bundle.min.mjs") };
}
