// Numbers as people read them.

const whole = new Intl.NumberFormat("en");

export const count = (number) => whole.format(Math.round(number));

export const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(milliseconds < 9950 ? 2 : 1)} s`;

// A number of things: "1 request", "2 requests".
export const counted = (number, thing) => `${count(number)} ${thing}${number === 1 ? "" : "s"}`;

export const percent = (share) => `${Math.round(100 * share)} %`;

export const signed = (number) => `${number > 0 ? "+" : number < 0 ? "−" : ""}${Math.abs(number)}`;

// A price; small ones with two digits that are not 0.
export function money(amount) {
  if (amount === 0) return "$0";
  if (amount >= 1000) return `$${count(amount)}`;
  const digits = Math.max(2, 1 - Math.floor(Math.log10(amount)));
  return `$${amount.toFixed(Math.min(digits, 9))}`;
}

export function probability(p) {
  if (p > 0 && p < 0.005) return "< 0.01";
  return p > 0.995 && p < 1 ? "> 0.99" : p.toFixed(2);
}
