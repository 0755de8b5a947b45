// Files by their addresses, in browsers and in Node.js.

const inNode = () => typeof globalThis.process?.versions?.node === "string" && globalThis.document === undefined;

/** Tells whether an address is that of a file that Node.js has to read: its `fetch` does not. */
export const isLocal = (url) => inNode() && url.protocol === "file:";

/** Returns the address of a folder, of which its `fleetnet.json` may be given. */
export async function addressOf(source) {
  const folder = String(source).replace(/(^|\/)fleetnet\.json$/, "$1").replace(/\/?$/, "/").replace(/^\/$/, "./");
  if (!inNode()) return new URL(folder, globalThis.document?.baseURI ?? globalThis.location.href);
  const { pathToFileURL } = await import("node:url");
  return /^(file|https?):/.test(folder) ? new URL(folder) : pathToFileURL(folder);
}

/** Returns the content of a file, as a `Uint8Array`. */
export async function contentOf(url) {
  if (isLocal(url)) {
    const { readFile } = await import("node:fs/promises");
    return readFile(url);
  }
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.href} cannot be read: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}
