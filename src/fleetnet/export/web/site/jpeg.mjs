// JPEG: browsers decode it, but show without a word what is cut off, so that is looked for here.

const FRAMES = [0xc0, 0xc1, 0xc2, 0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf];
const PROGRESSIVE = [0xc2, 0xc6, 0xca, 0xce];
const WITHOUT_LENGTH = [0x01, 0xd8, 0xd9];
const SCAN = 0xda;
const END = 0xd9;

/** Returns width and height of a JPEG file, stored; refuses one that lacks a part of its picture. */
export function checkedJpeg(bytes) {
  let size = null;
  let ended = false;
  let progressive = false;
  const missing = new Map();
  for (const [marker, place] of markers(bytes)) {
    if (FRAMES.includes(marker)) {
      if (place + 10 > bytes.length) break;
      progressive = PROGRESSIVE.includes(marker);
      size = { height: (bytes[place + 5] << 8) | bytes[place + 6], width: (bytes[place + 7] << 8) | bytes[place + 8] };
      for (let i = 0; i < bytes[place + 9]; i += 1) missing.set(bytes[place + 10 + 3 * i], new Array(64).fill(null));
    } else if (marker === SCAN && size !== null) note(bytes, place, progressive, missing);
    else if (marker === END) {
      ended = true;
      break;
    }
  }
  if (size === null || size.width === 0 || size.height === 0) throw new Error("damaged image: the header of this JPEG file");
  const whole = [...missing.values()].every((bits) => bits.every((left) => left === 0));
  if (!ended || !whole) throw new Error("damaged image: this JPEG file is cut off");
  return size;
}

/** Writes down which bits of which coefficients a scan brings. */
function note(bytes, place, progressive, missing) {
  const end = place + 5 + 2 * bytes[place + 4];
  const [first, last, bits] = progressive ? [bytes[end], bytes[end + 1], bytes[end + 2] & 15] : [0, 63, 0];
  for (let component = place + 5; component < end; component += 2) {
    missing.get(bytes[component])?.fill(bits, first, last + 1);
  }
}

/** Yields the markers with their places, without those that are part of the pixels' data. */
function* markers(bytes) {
  let place = 2;
  while (place + 1 < bytes.length) {
    const marker = bytes[place + 1];
    const data = bytes[place] !== 0xff || marker === 0 || marker === 0xff || (marker >= 0xd0 && marker <= 0xd7);
    if (data) {
      place += 1;
      continue;
    }
    yield [marker, place];
    place += 2;
    if (!WITHOUT_LENGTH.includes(marker)) place += (bytes[place] << 8) | bytes[place + 1];
  }
}
