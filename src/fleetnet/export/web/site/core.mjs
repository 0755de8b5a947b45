// The C core, compiled to WebAssembly: from a decoded picture to the network's input.

export const INTERPOLATIONS = ["bilinear", "bicubic", "cv2-linear"];
const SPENT = 64 << 20; // a memory never shrinks, so a larger one is given up
const NO_MEMORY = -1;
const TOO_LONG = -2;

/** Resizes and crops by the C core, with the same bits as every other host of Fleetnet. */
export class Core {
  #module;
  #instance = null;

  constructor(module) {
    this.#module = module;
  }

  static async of(bytes) {
    return new Core(await WebAssembly.compile(bytes));
  }

  /** Returns crop × crop RGB triples of a picture `{data, width, height}`, of 3 or 4 bytes a pixel. */
  async input(picture, preprocess) {
    const { resize, crop, interpolation } = preprocess;
    const { width, height } = picture;
    const core = await this.#started();
    const spots = [];
    const room = (bytes) => {
      const spot = core.malloc(bytes) >>> 0;
      if (spot === 0) throw new Error(`there is no memory for a picture of ${width}×${height}`);
      spots.push(spot);
      return spot;
    };
    try {
      const settings = room(12);
      const pixels = room(3 * width * height);
      const out = room(3 * crop * crop);
      new Int32Array(core.memory.buffer, settings, 3).set([resize, crop, INTERPOLATIONS.indexOf(interpolation)]);
      copyRgb(picture, new Uint8Array(core.memory.buffer, pixels, 3 * width * height));
      check(core.fleetnet_make_input(settings, pixels, width, height, 0, out), width, height);
      return new Uint8Array(core.memory.buffer, out, 3 * crop * crop).slice();
    } finally {
      spots.forEach(core.free);
      if (core.memory.buffer.byteLength > SPENT) this.#instance = null;
    }
  }

  /** Returns what part of a picture the network sees, in shares of its sides. */
  async frame({ width, height }, { resize, crop, interpolation }) {
    const core = await this.#started();
    const spot = core.malloc(28) >>> 0;
    try {
      const numbers = new Int32Array(core.memory.buffer, spot, 7);
      numbers.set([resize, crop, INTERPOLATIONS.indexOf(interpolation)]);
      check(core.fleetnet_geometry_of(spot, width, height, spot + 12), width, height);
      const [wide, high, left, top] = numbers.slice(3);
      return { left: left / wide, top: top / high, right: (left + crop) / wide, bottom: (top + crop) / high };
    } finally {
      core.free(spot);
    }
  }

  async #started() {
    if (this.#instance === null) {
      const { exports } = await WebAssembly.instantiate(this.#module);
      exports._initialize();
      this.#instance = exports;
    }
    return this.#instance;
  }
}

/** Copies a picture without its alpha, which is dropped and not blended. */
function copyRgb({ data, width, height }, out) {
  const pixels = width * height;
  if (data.length === 3 * pixels) out.set(data);
  else if (data.length !== 4 * pixels) {
    throw new Error(`${data.length} bytes are no picture of ${width}×${height} in RGB or RGBA`);
  } else {
    for (let from = 0, to = 0; to < out.length; from += 4, to += 3) {
      out[to] = data[from];
      out[to + 1] = data[from + 1];
      out[to + 2] = data[from + 2];
    }
  }
}

function check(status, width, height) {
  if (status === TOO_LONG) throw new Error(`${width}×${height} is longer than 1:100`);
  if (status === NO_MEMORY) throw new Error(`there is no memory for a picture of ${width}×${height}`);
  if (status !== 0) throw new Error(`a picture of ${width}×${height} does not fit the preprocessing`);
}
