// Metrics in Prometheus' text format.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

// Return the samples by their name: lists of { labels, value }.
export function parse(text) {
  const samples = new Map();
  for (const line of text.split("\n")) {
    const found = line.startsWith("#") ? null : LINE.exec(line);
    if (!found) continue;
    const labels = Object.fromEntries([...(found[2] ?? "").matchAll(LABEL)].map(([, name, value]) => [name, unescaped(value)]));
    if (!samples.has(found[1])) samples.set(found[1], []);
    samples.get(found[1]).push({ labels, value: Number(found[3].replace("Inf", "Infinity")) });
  }
  return samples;
}

const unescaped = (text) => text.replace(/\\(.)/g, (_, sign) => (sign === "n" ? "\n" : sign));

// Return the sum of the samples of a name that have these labels; null where there is no such name.
export function sum(samples, name, where = {}) {
  const found = samples.get(name);
  if (!found) return null;
  const holds = ({ labels }) => Object.entries(where).every(([label, value]) => labels[label] === value);
  return found.filter(holds).reduce((total, { value }) => total + value, 0);
}

// Return the counts of a histogram's buckets, each without those below it, in the order of their bounds.
export function buckets(samples, name) {
  const found = (samples.get(`${name}_bucket`) ?? []).map(({ labels, value }) => [Number(labels.le.replace("Inf", "Infinity")), value]);
  found.sort(([one], [other]) => one - other);
  return found.map(([bound, count], index) => ({ bound, count: count - (index ? found[index - 1][1] : 0) }));
}
