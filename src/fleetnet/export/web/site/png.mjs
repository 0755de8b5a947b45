// PNG: browsers blend alpha, manage colours and keep 8 bits of 16, so it is decoded here.

import { orientationOf, upright } from "./orientation.mjs";

const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const DEPTHS = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };
const PASSES = [
  [0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2],
];
const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value >>> 0;
});

/** Returns the upright picture of a PNG file as RGB: alpha is dropped, of 16 bits the upper 8 are kept.

With `sampleBits`, the upper eight of that many are kept in place of those of 16. */
export async function decodedPng(bytes, { sampleBits = null, maxPixels }) {
  const { header, palette, data, orientation } = chunksOf(bytes);
  const { width, height } = header;
  if (width * height > maxPixels) throw new Error(`${width}×${height} is more than ${maxPixels} pixels`);
  const passes = passesOf(header);
  const raw = await inflated(data, passes.reduce((sum, pass) => sum + pass.height * (pass.stride + 1), 0));
  const picture = { data: new Uint8Array(3 * width * height), width, height };
  let place = 0;
  for (const pass of passes) {
    place = unfiltered(raw, place, pass, header);
    spread(raw, place - pass.height * (pass.stride + 1), pass, { header, palette, sampleBits }, picture);
  }
  return upright(picture, orientation);
}

/** Returns what a PNG file holds, every checksum checked. */
function chunksOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = { header: null, palette: null, data: [], orientation: 1 };
  for (let place = 8; place + 8 <= bytes.length;) {
    const length = view.getUint32(place);
    const name = String.fromCharCode(...bytes.subarray(place + 4, place + 8));
    const end = place + 8 + length;
    if (end + 4 > bytes.length) {
      if (name === "IEND" && length === 0) break;
      throw new Error(`damaged image: cut off in its chunk ${named(name)}`);
    }
    if (crcOf(bytes.subarray(place + 4, end)) !== view.getUint32(end)) {
      throw new Error(`damaged image: wrong checksum of its chunk ${named(name)}`);
    }
    const content = bytes.subarray(place + 8, end);
    if (name === "IHDR") found.header = headerOf(content);
    else if (name === "PLTE") found.palette = content;
    else if (name === "eXIf") found.orientation = orientationOf(content);
    else if (name === "IDAT") found.data.push(content);
    else if (name === "IEND") break;
    place = end + 4;
  }
  if (found.header === null || found.data.length === 0) throw new Error("damaged image: no picture in this PNG file");
  if (found.header.colour === 3 && found.palette === null) throw new Error("damaged image: no palette in this PNG file");
  return found;
}

function headerOf(content) {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  if (content.length < 13) throw new Error("damaged image: the header of this PNG file");
  const [depth, colour, , , interlaced] = content.subarray(8, 13);
  const header = { width: view.getUint32(0), height: view.getUint32(4), depth, colour, interlaced };
  const sound = header.width > 0 && header.height > 0 && DEPTHS[colour]?.includes(depth) && interlaced <= 1;
  if (!sound) throw new Error("damaged image: the header of this PNG file");
  header.bits = CHANNELS[colour] * depth;
  return header;
}

function passesOf({ width, height, bits, interlaced }) {
  const all = interlaced ? PASSES : [[0, 0, 1, 1]];
  return all
    .map(([left, top, across, down]) => {
      const wide = Math.ceil((width - left) / across);
      const high = Math.ceil((height - top) / down);
      return { left, top, across, down, width: wide, height: high, stride: Math.ceil((wide * bits) / 8) };
    })
    .filter((pass) => pass.width > 0 && pass.height > 0);
}

/** Returns so many bytes of what was compressed, and never makes more of them. */
async function inflated(parts, length) {
  const out = new Uint8Array(length);
  const reader = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  let have = 0;
  while (have < length) {
    let read;
    try {
      read = await reader.read();
    } catch {
      throw new Error("damaged image: its pixels cannot be decompressed");
    }
    if (read.done) throw new Error("damaged image: its pixels are cut off");
    const part = read.value.subarray(0, length - have);
    out.set(part, have);
    have += part.length;
  }
  reader.cancel().catch(() => {});
  return out;
}

/** Undoes the filters of a pass in place; returns where the next one begins. */
function unfiltered(raw, place, pass, { bits }) {
  const step = Math.max(1, bits >> 3);
  const { stride } = pass;
  let above = new Uint8Array(stride);
  for (let row = 0; row < pass.height; row += 1) {
    const filter = raw[place];
    const line = raw.subarray(place + 1, place + 1 + stride);
    if (filter > 4) throw new Error("damaged image: an unknown filter in this PNG file");
    if (filter === 1) for (let i = step; i < stride; i += 1) line[i] += line[i - step];
    else if (filter === 2) for (let i = 0; i < stride; i += 1) line[i] += above[i];
    else if (filter === 3) for (let i = 0; i < stride; i += 1) line[i] += ((i < step ? 0 : line[i - step]) + above[i]) >> 1;
    else if (filter === 4) {
      for (let i = 0; i < stride; i += 1) {
        line[i] += i < step ? above[i] : paeth(line[i - step], above[i], above[i - step]);
      }
    }
    above = line;
    place += stride + 1;
  }
  return place;
}

function paeth(left, above, corner) {
  const byLeft = Math.abs(above - corner);
  const byAbove = Math.abs(left - corner);
  const byCorner = Math.abs(left + above - 2 * corner);
  if (byLeft <= byAbove && byLeft <= byCorner) return left;
  return byAbove <= byCorner ? above : corner;
}

/** Writes the pixels of a pass where they belong. */
function spread(raw, start, pass, { header, palette, sampleBits }, { data, width }) {
  const { depth, colour } = header;
  const channels = CHANNELS[colour];
  const coloured = channels > 2;
  const bits = sampleBits ?? 16;
  const [most, shift] = [2 ** bits - 1, bits - 8];
  const scale = colour === 3 ? 1 : 255 / (2 ** Math.min(depth, 8) - 1);
  for (let row = 0; row < pass.height; row += 1) {
    const line = raw.subarray(start + row * (pass.stride + 1) + 1, start + (row + 1) * (pass.stride + 1));
    const sample = (index) => {
      if (depth === 8) return line[index];
      if (depth === 16) return Math.min((line[2 * index] << 8) | line[2 * index + 1], most) >> shift;
      const bit = index * depth;
      return ((line[bit >> 3] >> (8 - depth - (bit & 7))) & (2 ** depth - 1)) * scale;
    };
    let to = 3 * ((pass.top + row * pass.down) * width + pass.left);
    if (depth === 8 && colour === 2 && pass.across === 1) {
      data.set(line, to);
      continue;
    }
    for (let column = 0; column < pass.width; column += 1, to += 3 * pass.across) {
      const first = sample(column * channels);
      if (colour === 3) for (let i = 0; i < 3; i += 1) data[to + i] = palette[3 * first + i] ?? 0;
      else for (let i = 0; i < 3; i += 1) data[to + i] = coloured && i ? sample(column * channels + i) : first;
    }
  }
}

function crcOf(bytes) {
  let value = 0xffffffff;
  for (let i = 0; i < bytes.length; i += 1) value = CRC[(value ^ bytes[i]) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

const named = (chunk) => (/^[A-Za-z]{4}$/.test(chunk) ? chunk : "of no known kind");
