// The files that are inside the page, where it is a single file.

/** Returns the content of a file of the page, which is there compressed. */
async function contentOf(name) {
  const packed = Uint8Array.from(atob(document.getElementById(`file-${name}`).textContent), (sign) => sign.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Returns an address under which a script of the page, which is there as it is, can be loaded. */
export function inlineAddress(name) {
  const text = new TextDecoder().decode(
    Uint8Array.from(atob(document.getElementById(`file-${name}`).textContent), (sign) => sign.charCodeAt(0)),
  );
  return URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
}

/** Returns what the worker opens in place of a folder. */
export async function inlineFiles() {
  const [manifest, model, core, wasmBinary] = await Promise.all(
    ["fleetnet.json", "model.onnx", "fleetnet-core.wasm", "ort-wasm-simd-threaded.wasm"].map(contentOf),
  );
  return { manifest: new TextDecoder().decode(manifest), model, core, wasmBinary, runtime: inlineAddress("ort.wasm.bundle.min.mjs") };
}
