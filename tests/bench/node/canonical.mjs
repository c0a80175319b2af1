// JSON text with sorted keys. Simplified: functions/encode follows RFC 8785, of which this is enough for the bench's data,
// and refuses what does not survive it, such as numbers that lose digits.

export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`);
  return `{${members.join(",")}}`;
}
