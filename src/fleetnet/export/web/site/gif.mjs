// GIF: browsers lose the colours beneath transparency, so the first frame is decoded here.

const DAMAGED = "damaged image: this GIF file is cut off or wrong";

/** Returns the first frame of a GIF file on its screen, as RGB. */
export function decodedGif(bytes, { maxPixels }) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    return firstFrame(bytes, view, maxPixels);
  } catch (error) {
    if (error instanceof RangeError) throw new Error(DAMAGED);
    throw error;
  }
}

function firstFrame(bytes, view, maxPixels) {
  const [width, height, flags] = [view.getUint16(6, true), view.getUint16(8, true), view.getUint8(10)];
  if (width * height > maxPixels) throw new Error(`${width}×${height} is more than ${maxPixels} pixels`);
  let place = 13;
  let palette = null;
  let transparent = null;
  if (flags & 128) [palette, place] = colours(bytes, place, flags);
  for (;;) {
    const kind = view.getUint8(place);
    if (kind === 0x21) {
      const control = view.getUint8(place + 1) === 0xf9 && view.getUint8(place + 2) >= 4;
      if (control && view.getUint8(place + 3) & 1) transparent = view.getUint8(place + 6);
      place = blocks(view, place + 2).end;
    } else if (kind === 0x2c) {
      const box = [1, 3, 5, 7].map((offset) => view.getUint16(place + offset, true));
      const own = view.getUint8(place + 9);
      place += 10;
      if (own & 128) [palette, place] = colours(bytes, place, own);
      const data = gathered(bytes, blocks(view, place + 1));
      const indices = unpacked(data, view.getUint8(place), box[2] * box[3]);
      return painted({ width, height, box, indices, palette, transparent, interlaced: own & 64 });
    } else throw new Error(DAMAGED);
  }
}

function colours(bytes, place, flags) {
  const end = place + 3 * 2 ** ((flags & 7) + 1);
  return [bytes.subarray(place, end), end];
}

/** Returns where the blocks of data are, and where they end. */
function blocks(view, place) {
  const parts = [];
  for (let length = view.getUint8(place); length > 0; length = view.getUint8(place)) {
    parts.push([place + 1, place + 1 + length]);
    place += 1 + length;
  }
  return { parts, end: place + 1 };
}

function gathered(bytes, { parts }) {
  const data = new Uint8Array(parts.reduce((sum, [from, to]) => sum + to - from, 0));
  let have = 0;
  for (const [from, to] of parts) {
    data.set(bytes.subarray(from, to), have);
    have += to - from;
  }
  return data;
}

/** Undoes LZW (Welch 1984); the picture has so many pixels. */
function unpacked(data, least, count) {
  if (least < 1 || least > 11) throw new Error(DAMAGED);
  const out = new Uint8Array(count);
  const before = new Int16Array(4096);
  const last = new Uint8Array(4096);
  const reversed = new Uint8Array(4097);
  const [clear, end] = [1 << least, (1 << least) + 1];
  for (let code = 0; code < clear; code += 1) last[code] = code;
  let [size, next, previous, first] = [least + 1, end + 1, -1, 0];
  let [held, bits, place, have] = [0, 0, 0, 0];
  while (have < count) {
    while (bits < size) {
      if (place >= data.length) throw new Error(DAMAGED);
      held |= data[place] << bits;
      place += 1;
      bits += 8;
    }
    let code = held & ((1 << size) - 1);
    held >>>= size;
    bits -= size;
    if (code === clear) [size, next, previous] = [least + 1, end + 1, -1];
    else if (code === end) throw new Error(DAMAGED);
    else {
      if (code > next || (code === next && previous < 0) || (previous < 0 && code >= clear)) throw new Error(DAMAGED);
      const given = code;
      let length = 0;
      if (code === next) {
        reversed[length++] = first;
        code = previous;
      }
      while (code >= clear) {
        reversed[length++] = last[code];
        code = before[code];
      }
      first = code;
      reversed[length++] = code;
      while (length > 0 && have < count) out[have++] = reversed[--length];
      if (previous >= 0 && next < 4096) {
        before[next] = previous;
        last[next] = first;
        next += 1;
        if (next === 1 << size && size < 12) size += 1;
      }
      previous = given;
    }
  }
  return out;
}

function painted({ width, height, box: [left, top, wide, high], indices, palette, transparent, interlaced }) {
  const data = new Uint8Array(3 * width * height);
  const colour = (index) => [0, 1, 2].map((i) => (palette ? palette[3 * index + i] ?? 0 : index));
  const beneath = colour(transparent ?? 0);
  if (beneath.some(Boolean)) for (let i = 0; i < data.length; i += 1) data[i] = beneath[i % 3];
  const rows = [...Array(high).keys()];
  const steps = [[0, 8], [4, 8], [2, 4], [1, 2]];
  const order = interlaced ? steps.flatMap(([from, step]) => rows.filter((row) => row % step === from)) : rows;
  order.forEach((row, stored) => {
    if (top + row >= height) return;
    for (let column = 0; column < Math.min(wide, width - left); column += 1) {
      const from = indices[stored * wide + column];
      const to = 3 * ((top + row) * width + left + column);
      for (let i = 0; i < 3; i += 1) data[to + i] = palette ? palette[3 * from + i] ?? 0 : from;
    }
  });
  return { data, width, height };
}
