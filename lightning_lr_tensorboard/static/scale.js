// Linear and logarithmic axes: where a value lies, which ticks there are, and how numbers are written.

const MINOR_PER_DECADE = [2, 5];

/** Maps values of `domain` to pixels of `range`. */
export class Scale {
  constructor(domain, range, isLog) {
    this.isLog = isLog;
    this.domain = domain;
    this.range = range;
    const [low, high] = domain.map((value) => this.transform(value));
    this.low = low;
    this.factor = (range[1] - range[0]) / (high - low || 1);
  }

  transform(value) {
    return this.isLog ? Math.log10(value) : value;
  }

  at(value) {
    return this.range[0] + (this.transform(value) - this.low) * this.factor;
  }

  invert(pixel) {
    const value = this.low + (pixel - this.range[0]) / this.factor;
    return this.isLog ? 10 ** value : value;
  }

  /** Values with a label; about one for each `spacing` pixels. */
  ticks(spacing) {
    const count = Math.max(2, Math.floor(Math.abs(this.range[1] - this.range[0]) / spacing));
    return this.isLog ? this.logTicks(count) : linearTicks(this.domain, count);
  }

  logTicks(count) {
    const [low, high] = this.domain.map(Math.log10);
    const decades = high - low;
    if (decades < 1) return linearTicks(this.domain, count).filter((tick) => tick > 0);
    const step = Math.max(1, Math.ceil(decades / count));
    const multiples = decades * (1 + MINOR_PER_DECADE.length) <= count ? [1, ...MINOR_PER_DECADE] : [1];
    const ticks = [];
    for (let exponent = Math.floor(low); exponent <= high; exponent += 1) {
      if (exponent % step !== 0) continue;
      for (const multiple of multiples) ticks.push(Number(`${multiple}e${exponent}`));
    }
    return ticks.filter((tick) => tick >= this.domain[0] * 0.999 && tick <= this.domain[1] * 1.001);
  }
}

function linearTicks([low, high], count) {
  if (!(high > low)) return [low];
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((multiple) => multiple * power).find((each) => each >= raw);
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high * (1 + 1e-12) + 1e-300; i += 1) {
    ticks.push(Number((i * step).toPrecision(12)));
  }
  return ticks;
}

/** A learning rate: 1e-5 ... 1e0. */
export function formatLR(value) {
  if (value === null || value === undefined) return "–";
  const [mantissa, exponent] = value.toExponential(2).split("e");
  return `${Number(mantissa)}e${Number(exponent)}`;
}

/** Any other number, with four digits. */
export function formatNumber(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return formatLR(value);
  return String(Number(value.toPrecision(4)));
}

/** The least and the greatest of the finite numbers in arrays, or `null`. */
export function extent(arrays) {
  let low = Infinity;
  let high = -Infinity;
  for (const values of arrays) {
    for (const value of values) {
      if (value === null || !Number.isFinite(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return low <= high ? [low, high] : null;
}

/** The extent, but without the highest hundredth where it would flatten all the rest. */
export function robustExtent(arrays) {
  const whole = extent(arrays);
  if (whole === null) return null;
  const sorted = arrays.flatMap((values) => Array.from(values).filter(Number.isFinite)).sort((a, b) => a - b);
  const most = sorted[Math.floor(0.99 * (sorted.length - 1))];
  return whole[1] - most > 2 * (most - whole[0]) && most > whole[0] ? [whole[0], most] : whole;
}

/** A domain with some room at both ends. */
export function padded([low, high], isLog, share = 0.05) {
  if (isLog) {
    const factor = low === high ? 2 : (high / low) ** share;
    return [low / factor, high * factor];
  }
  const margin = low === high ? Math.abs(low) * 0.1 || 1 : (high - low) * share;
  return [low - margin, high + margin];
}
