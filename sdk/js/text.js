// Text and bytes. The engine has no TextDecoder and no TextEncoder, and going over the bytes in JavaScript takes most
// of an event's time: a KiB each way by a loop takes ten times as long as by way of base64, which the engine does itself.

// Bits that no byte of plain ASCII has, in four bytes at once.
const NOT_ASCII = 0x80808080;

function isAscii(bytes) {
  const { buffer, byteOffset, length } = bytes;
  let at = 0;
  let seen = 0;
  if (byteOffset % 4 === 0) {
    const words = new Uint32Array(buffer, byteOffset, length >> 2);
    const whole = words.length & ~7;
    let word = 0;
    for (; word < whole; word += 8) {
      seen |= words[word] | words[word + 1] | words[word + 2] | words[word + 3];
      seen |= words[word + 4] | words[word + 5] | words[word + 6] | words[word + 7];
    }
    for (; word < words.length; word++) seen |= words[word];
    if (seen & NOT_ASCII) return false;
    at = words.length << 2;
  }
  for (seen = 0; at < length; at++) seen |= bytes[at];
  return seen < 0x80;
}

/**
 * The text that these bytes are in UTF-8. Bytes that are no UTF-8 throw.
 * @param {Uint8Array} bytes
 */
export function decode(bytes) {
  const text = atob(bytes.toBase64());
  if (isAscii(bytes)) return text;
  try {
    return decodeURIComponent(escape(text));
  } catch {
    throw new TypeError("these bytes are not UTF-8");
  }
}

/**
 * The bytes of a text in UTF-8. Half of a surrogate pair throws.
 * @param {string} text
 */
export function encode(text) {
  try {
    // What is more than a byte a character is refused, and so is most that is not ASCII; the rest is looked at.
    const bytes = Uint8Array.fromBase64(btoa(text));
    if (isAscii(bytes)) return bytes;
  } catch {
    // It is not ASCII.
  }
  return Uint8Array.fromBase64(btoa(unescape(encodeURIComponent(text))));
}

/**
 * Bytes as they are, a text in UTF-8, nothing as null.
 * @param {Uint8Array | string | null | undefined} value
 */
export function bytesOf(value) {
  if (value === null || value === undefined) return undefined;
  if (typeof value === "string") return encode(value);
  if (value instanceof Uint8Array) return value;
  throw new TypeError(`a text or a Uint8Array is wanted, and this is ${typeof value}: JSON.stringify makes a text`);
}
