// From logits to probabilities, in double precision.

/** Returns a probability for each logit, rounded to single precision, as Python gives them. */
export function probabilitiesOf(logits, activation, temperature = 1) {
  const scaled = Float64Array.from(logits, (logit) => logit / temperature);
  if (activation === "sigmoid") return Float32Array.from(scaled, sigmoid);
  const highest = scaled.reduce((one, other) => Math.max(one, other), -Infinity);
  const powers = scaled.map((value) => Math.exp(value - highest));
  const sum = powers.reduce((one, other) => one + other, 0);
  return Float32Array.from(powers, (power) => power / sum);
}

/** Returns how sure a network is of a class: probabilities near 1 hardly change, their log-odds do. */
export function logOdds(logits, index, activation, temperature = 1) {
  const scaled = Float64Array.from(logits, (logit) => logit / temperature);
  if (activation === "sigmoid" || scaled.length === 1) return scaled[index];
  let highest = -Infinity;
  scaled.forEach((value, place) => {
    if (place !== index) highest = Math.max(highest, value);
  });
  let sum = 0;
  scaled.forEach((value, place) => {
    if (place !== index) sum += Math.exp(value - highest);
  });
  return scaled[index] - highest - Math.log(sum);
}

/** Returns how certain a network is of an image, in single precision; higher is more certain. */
export function certaintyOf(logits, score, temperature = 1) {
  const numbers = Float64Array.from(logits);
  if (numbers.some(Number.isNaN)) return NaN;
  if (score === "probability") {
    return probabilitiesOf(logits, "softmax", temperature).reduce((one, other) => Math.max(one, other), -Infinity);
  }
  const largest = numbers.reduce((one, other) => Math.max(one, other), -Infinity);
  if (score === "max-logit") return Math.fround(largest);
  // Infinite logits have no exponentials to add up: the largest is what there is.
  const base = Number.isFinite(largest) ? largest : 0;
  return Math.fround(base + Math.log(numbers.reduce((sum, value) => sum + Math.exp(value - base), 0)));
}

/** Returns the `count` most probable classes, the first first; of equal ones that of the lower index. */
export function best(probabilities, count) {
  const order = Array.from(probabilities, (_, index) => index);
  order.sort((one, other) => probabilities[other] - probabilities[one] || one - other);
  return order.slice(0, count);
}

function sigmoid(value) {
  const negated = -value;
  return Math.exp(-(Math.max(0, negated) + Math.log1p(Math.exp(-Math.abs(negated)))));
}
