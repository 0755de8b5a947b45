// Keeps the page's files for the time without a network. The version is made of their hashes.

const VERSION = "{version}";
const FILES = {files};
const LATER = {later};
const CACHE = `fleetnet ${new URL(self.registration.scope).pathname} ${VERSION}`;
const ISOLATED = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
};

self.addEventListener("install", (event) => {
  event.waitUntil(keep().then(() => self.skipWaiting()));
});

async function keep() {
  const cache = await caches.open(CACHE);
  const fetched = Object.entries(FILES).map(async ([name, integrity]) => {
    const response = await fetch(name, { cache: "no-cache", integrity });
    if (!response.ok) throw new Error(`${name}: ${response.status}`);
    await cache.put(name, response);
  });
  await Promise.all(fetched);
}

self.addEventListener("activate", (event) => {
  event.waitUntil(tidy().then(() => self.clients.claim()));
});

/** Forgets what earlier versions of this page kept; other pages of the same host keep theirs. */
async function tidy() {
  const ours = CACHE.slice(0, -VERSION.length);
  const names = (await caches.keys()).filter((name) => name.startsWith(ours) && name !== CACHE);
  await Promise.all(names.map((name) => caches.delete(name)));
}

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || !url.href.startsWith(self.registration.scope)) return;
  const name = url.href.slice(self.registration.scope.length).replace(/[?#].*$/, "") || "index.html";
  if (name in FILES || name in LATER) event.respondWith(answer(name, event.request));
});

async function answer(name, request) {
  const cache = await caches.open(CACHE);
  let found = await cache.match(name);
  if (found === undefined) {
    found = await fetch(request.url, { integrity: FILES[name] ?? LATER[name] });
    if (found.ok) await cache.put(name, found.clone());
  }
  // With these a page may use threads, even if its server does not send them.
  const headers = new Headers(found.headers);
  for (const [header, value] of Object.entries(ISOLATED)) headers.set(header, value);
  return new Response(found.body, { status: found.status, statusText: found.statusText, headers });
}
