// Where in a picture a class is found, by hiding one place after another.
//
// Occlusion sensitivity (Zeiler and Fergus 2014), with the places, bells and blurred colours that
// Fleetnet's server uses, so that both show the same.

export const GRID = 7;
const SPREAD = 1; // width of what is hidden, in cells
const BLUR = 2; // over how many cells the colours of what takes its place run into each other

/** Returns `hidden(row, column)`: an input `Uint8Array` of side² × 3 with that place hidden. */
export function hider(pixels, side, grid = GRID) {
  const rest = blurred(pixels, side, grid);
  const bell = bells(side, grid, SPREAD);
  return (row, column) => {
    const out = new Uint8Array(pixels.length);
    for (let y = 0, i = 0; y < side; y += 1) {
      const down = bell[row * side + y];
      for (let x = 0; x < side; x += 1) {
        const mask = down * bell[column * side + x];
        for (const last = i + 3; i < last; i += 1) out[i] = Math.round(pixels[i] + mask * (rest[i] - pixels[i]));
      }
    }
    return out;
  };
}

/** Returns how much each place speaks for a class, from 0 to 1: what speaks against it is cut off. */
export function heatOf(whole, withHidden, grid = GRID) {
  const falls = withHidden.map((value) => Math.max(whole - value, 0));
  const strongest = Math.max(...falls);
  const shares = falls.map((fall) => (strongest > 0 ? fall / strongest : 0));
  return Array.from({ length: grid }, (_, row) => shares.slice(row * grid, (row + 1) * grid));
}

/** Returns a bell around the middle of each cell, 1 at its top: grid × length numbers. */
function bells(length, grid, spread) {
  const found = new Float64Array(grid * length);
  for (let cell = 0; cell < grid; cell += 1) {
    for (let i = 0; i < length; i += 1) {
      const apart = (((i + 0.5) * grid) / length - cell - 0.5) / spread;
      found[cell * length + i] = Math.exp(-0.5 * apart * apart);
    }
  }
  return found;
}

/** Returns a picture of broad patches of colour that run into each other. */
function blurred(pixels, side, grid) {
  const bell = bells(side, grid, BLUR);
  const [gather, give] = [Float64Array.from(bell), Float64Array.from(bell)];
  for (let cell = 0; cell < grid; cell += 1) {
    const sum = bell.subarray(cell * side, (cell + 1) * side).reduce((one, other) => one + other);
    for (let i = 0; i < side; i += 1) gather[cell * side + i] /= sum;
  }
  for (let i = 0; i < side; i += 1) {
    let sum = 0;
    for (let cell = 0; cell < grid; cell += 1) sum += bell[cell * side + i];
    for (let cell = 0; cell < grid; cell += 1) give[cell * side + i] /= sum;
  }
  // Rows to cells, columns to cells, and back.
  const rows = mixed(pixels, { from: side, to: grid, wide: 3 * side, weight: (to, from) => gather[to * side + from] });
  const cells = acrossMixed(rows, { from: side, to: grid, high: grid, weight: (to, from) => gather[to * side + from] });
  const wide = acrossMixed(cells, { from: grid, to: side, high: grid, weight: (to, from) => give[from * side + to] });
  return mixed(wide, { from: grid, to: side, wide: 3 * side, weight: (to, from) => give[from * side + to] });
}

function mixed(values, { from, to, wide, weight }) {
  const out = new Float64Array(to * wide);
  for (let row = 0; row < to; row += 1) {
    for (let source = 0; source < from; source += 1) {
      const share = weight(row, source);
      for (let i = 0; i < wide; i += 1) out[row * wide + i] += share * values[source * wide + i];
    }
  }
  return out;
}

function acrossMixed(values, { from, to, high, weight }) {
  const out = new Float64Array(high * to * 3);
  for (let column = 0; column < to; column += 1) {
    for (let source = 0; source < from; source += 1) {
      const share = weight(column, source);
      for (let row = 0; row < high; row += 1) {
        for (let i = 0; i < 3; i += 1) out[3 * (row * to + column) + i] += share * values[3 * (row * from + source) + i];
      }
    }
  }
  return out;
}
