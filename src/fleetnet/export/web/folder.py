"""The files of a folder that classifies in the browser: page, module, runtime, a single file."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Callable, Mapping
from importlib import resources

import fleetnet
from fleetnet.bundle import MANIFEST, Manifest
from fleetnet.export.web.modules import joined
from fleetnet.page import shared_files

CORE = "fleetnet-core.wasm"
SINGLE = "fleetnet.html"
_WASM = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
_WEBGPU = ("ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm")
RUNTIME = (*_WASM, *_WEBGPU)
"""The files of onnxruntime-web: the last two are loaded only where there is WebGPU."""
_PAGE = ("app.js", "local.js", "inline.js")
HOW = """\
The folder is a page that any web server can serve, and a module for other pages:

- `index.html` with `app.mjs`, `worker.mjs`, `style.css`, `icon.svg` and `sw.js`, which keeps all of
  it for the time without a network;
- `fleetnet.html`, the same page in a single file, which a double click opens;
- `fleetnet.mjs`, the module, with `fleetnet.d.mts` and `package.json`; it needs `fleetnet.json`,
  `model.onnx`, `fleetnet-core.wasm` (which resizes as Python does) and onnxruntime-web's files
  `ort*` beside it. Those with `webgpu` and `asyncify` are loaded only where there is WebGPU.

## Serving it

    python3 -m http.server --bind 127.0.0.1

Browsers give the camera, and pages without a network, only to `https:` and to this machine itself.
Threads take a page that is isolated from others, by two headers. `sw.js` adds them from the second
visit on; a server that sends them gives threads at once. In nginx:

    types { text/javascript mjs; application/wasm wasm; }
    add_header Cross-Origin-Opener-Policy same-origin;
    add_header Cross-Origin-Embedder-Policy require-corp;

In Caddy:

    header Cross-Origin-Opener-Policy same-origin
    header Cross-Origin-Embedder-Policy require-corp

Compress what is sent: onnxruntime-web's 14.2 MB are 3.7 MB in gzip.

## In your own page

    <script type="module">
    import { Classifier } from "./fleetnet.mjs";
    const classifier = await Classifier.open(".");
    const { predictions } = await classifier.classify(document.querySelector("input").files[0]);
    console.log(predictions[0].class, predictions[0].probability);
    </script>

A picture is a `File` or another `Blob`, an image, a canvas, a video, an `ImageBitmap`, an
`ImageData`, or `{data, width, height}` in RGB or RGBA. Of a file the pixels are those of Python: as
stored, without colour management, upright by EXIF, alpha dropped and not blended.

## In Node.js

    import { Classifier } from "./fleetnet.mjs";
    const classifier = await Classifier.open("path/of/this/folder");
    const { predictions } = await classifier.classify({ data, width, height });

PNG and GIF files are decoded too; of others give the pixels, as `sharp` does by
`sharp(file).rotate().removeAlpha().raw().toBuffer({ resolveWithObject: true })`. It computes with
the onnxruntime-web that is in the folder; `Classifier.open(folder, { ort })` takes onnxruntime-node
instead, if you `import * as ort from "onnxruntime-node"`."""
_PART = re.compile(r"\{(policy|title|head|data)\}")
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; "
_FOLDER_POLICY = (
    _POLICY + "script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; worker-src 'self'"
)
_SINGLE_POLICY = (
    _POLICY + "script-src {script} data: 'wasm-unsafe-eval'; style-src {style}; "
    "img-src data: blob:; worker-src data:"
)


def folder_of(
    files: Mapping[str, bytes], manifest: Manifest, runtime: Callable[[str], bytes]
) -> dict[str, bytes]:
    """Return what is written beside a network's graph.

    Args:
        files: the graph's file.
        manifest: of the folder, as it is written there.
        runtime: gives the content of one of :data:`RUNTIME`.
    """
    texts = _sources()
    title = f"{manifest.model.name} – Fleetnet"
    site = {
        "fleetnet.mjs": joined("fleetnet.mjs", _modules(texts)).encode(),
        "worker.mjs": texts["worker.mjs"].encode(),
        "app.mjs": joined("app.js", texts).encode(),
        "style.css": texts["style.css"].encode(),
        "icon.svg": texts["icon.svg"].encode(),
        CORE: (_site() / CORE).read_bytes(),
        **{name: runtime(name) for name in RUNTIME},
    }
    site["index.html"] = _page(
        texts["index.html"],
        policy=_FOLDER_POLICY,
        title=title,
        head='<link rel="icon" href="icon.svg" type="image/svg+xml">\n'
        '<link rel="stylesheet" href="style.css">\n'
        '<script type="module" src="app.mjs"></script>',
    )
    whole = {**site, **files, MANIFEST: manifest.to_json().encode()}
    return {
        **site,
        "sw.js": _service_worker(texts["sw.js"], whole),
        "fleetnet.d.mts": texts["fleetnet.d.mts"].encode(),
        "package.json": _package(texts["package.json"], manifest),
        SINGLE: _single(texts, whole, title),
    }


def _site() -> resources.abc.Traversable:
    return resources.files(__package__) / "site"


def _sources() -> dict[str, str]:
    """Return the texts that everything is made of, those of all pages included."""
    own = {
        file.name: file.read_text("utf-8")
        for file in _site().iterdir()
        if not file.name.endswith(".wasm")
    }
    return {name: content.decode() for name, content in shared_files().items()} | own


def _modules(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if name.endswith(".mjs")}


def _page(template: str, **parts: str) -> bytes:
    """Return a page; what is not markup already is made text."""
    for name in ("policy", "title"):
        parts[name] = html.escape(parts[name])
    parts.setdefault("data", "")
    # In one pass, so that nothing that is put in is searched in turn.
    return _PART.sub(lambda found: parts[found[1]], template).encode()


def _service_worker(template: str, whole: Mapping[str, bytes]) -> bytes:
    hashes = {name: _hash(content) for name, content in sorted(whole.items())}
    now = {name: value for name, value in hashes.items() if name not in _WEBGPU}
    later = {name: hashes[name] for name in _WEBGPU}
    version = hashlib.sha256(json.dumps(hashes).encode()).hexdigest()[:16]
    text = template.replace("{version}", version)
    text = text.replace("{files}", json.dumps(now, indent=2))
    return text.replace("{later}", json.dumps(later, indent=2)).encode()


def _hash(content: bytes) -> str:
    """Return a hash as browsers take it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}"


def _package(template: str, manifest: Manifest) -> bytes:
    content = json.loads(template)
    content["version"] = fleetnet.__version__
    content["description"] = content["description"].replace("{title}", manifest.model.name)
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _single(texts: Mapping[str, str], whole: Mapping[str, bytes], title: str) -> bytes:
    """Return the page with everything in it, which works where nothing can be fetched."""
    icon = f"data:image/svg+xml;base64,{base64.b64encode(whole['icon.svg']).decode()}"
    style = texts["style.css"].replace("icon.svg", icon)
    script = whole["app.mjs"].decode()
    packed = [MANIFEST, "model.onnx", CORE, _WASM[1]]
    inside = {name: gzip.compress(whole[name], 9, mtime=0) for name in packed}
    inside[_WASM[0]] = whole[_WASM[0]]
    inside["worker.mjs"] = joined("worker.mjs", _modules(texts)).encode()
    policy = _SINGLE_POLICY.format(
        script=f"'{_hash(script.encode())}'", style=f"'{_hash(style.encode())}'"
    )
    data = "\n".join(
        f'<script type="application/octet-stream" id="file-{name}">'
        f"{base64.b64encode(content).decode()}</script>"
        for name, content in inside.items()
    )
    return _page(
        texts["index.html"],
        policy=policy,
        title=title,
        head=f'<link rel="icon" href="{icon}">\n<style>{style}</style>',
        data=f'{data}\n<script type="module">{script}</script>',
    )
