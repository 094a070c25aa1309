// Smoothing: of a sweep or a trial, as the Python package does it, and of a training, as TensorBoard does it.

/** Centred Gaussian of 3 % of the points, at least one point, cut at three sigma. */
export function gaussian(values) {
  const sigma = Math.max(1, 0.03 * values.length);
  const reach = Math.ceil(3 * sigma);
  return values.map((value, i) => {
    if (value === null) return null;
    let [sum, weight] = [0, 0];
    for (let j = Math.max(0, i - reach); j <= Math.min(values.length - 1, i + reach); j += 1) {
      if (values[j] === null) continue;
      const factor = Math.exp(-0.5 * ((i - j) / sigma) ** 2);
      sum += factor * values[j];
      weight += factor;
    }
    return sum / weight;
  });
}

/** Exponential mean of the values so far. */
export function exponential(values, weight) {
  let [mean, total] = [0, 0];
  return values.map((value) => {
    mean = weight * mean + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return mean / total;
  });
}

export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.round(share * (sorted.length - 1))];
}
