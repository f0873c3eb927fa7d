// A scanner over JSON text (RFC 8259). It checks while it skips, so that what is found is sound.
#include "json.h"

#include <string.h>

enum { DEPTH_MAX = 64 };

typedef struct {
  const uint8_t *at, *end;
} scanner;

static void skip_space(scanner *s) {
  while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r')) s->at++;
}

static bool take(scanner *s, uint8_t byte) {
  if (s->at == s->end || *s->at != byte) return false;
  s->at++;
  return true;
}

static bool take_word(scanner *s, const char *word) {
  size_t len = strlen(word);
  if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0) return false;
  s->at += len;
  return true;
}

static int hex_digit(uint8_t byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  byte |= 0x20;
  return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

// Four digits of an escape; -1 when they are not there.
static int32_t take_hex(scanner *s) {
  if (s->end - s->at < 4) return -1;
  int32_t number = 0;
  for (int i = 0; i < 4; i++) {
    int digit = hex_digit(*s->at++);
    if (digit < 0) return -1;
    number = number * 16 + digit;
  }
  return number;
}

static bool skip_string(scanner *s) {
  if (!take(s, '"')) return false;
  while (s->at < s->end) {
    uint8_t byte = *s->at++;
    if (byte == '"') return true;
    if (byte < 0x20) return false;
    if (byte != '\\') continue;
    if (s->at == s->end) return false;
    byte = *s->at++;
    if (byte == 'u' ? take_hex(s) < 0 : !memchr("\"\\/bfnrt", byte, 8)) return false;
  }
  return false;
}

static bool skip_digits(scanner *s) {
  const uint8_t *start = s->at;
  while (s->at < s->end && *s->at >= '0' && *s->at <= '9') s->at++;
  return s->at > start;
}

static bool skip_number(scanner *s) {
  take(s, '-');
  if (!take(s, '0') && !skip_digits(s)) return false;
  if (take(s, '.') && !skip_digits(s)) return false;
  if (!take(s, 'e') && !take(s, 'E')) return true;
  if (!take(s, '+')) take(s, '-');
  return skip_digits(s);
}

static bool skip_value(scanner *s, int depth);

// The members of an object or an array, after what opens it.
static bool skip_members(scanner *s, int depth, bool named, uint8_t close) {
  if (depth == DEPTH_MAX) return false;
  skip_space(s);
  if (take(s, close)) return true;
  do {
    skip_space(s);
    if (named) {
      if (!skip_string(s)) return false;
      skip_space(s);
      if (!take(s, ':')) return false;
    }
    if (!skip_value(s, depth + 1)) return false;
    skip_space(s);
  } while (take(s, ','));
  return take(s, close);
}

static bool skip_value(scanner *s, int depth) {
  skip_space(s);
  if (s->at == s->end) return false;
  switch (*s->at) {
    case '{': s->at++; return skip_members(s, depth, true, '}');
    case '[': s->at++; return skip_members(s, depth, false, ']');
    case '"': return skip_string(s);
    case 't': return take_word(s, "true");
    case 'f': return take_word(s, "false");
    case 'n': return take_word(s, "null");
    default: return skip_number(s);
  }
}

static scanner over(millrace_bytes text) { return (scanner){text.data, text.data ? text.data + text.len : NULL}; }

bool millrace_json_valid(millrace_bytes text) {
  scanner s = over(text);
  if (!skip_value(&s, 0)) return false;
  skip_space(&s);
  return s.at == s.end;
}

millrace_bytes millrace_json_member(millrace_bytes object, const char *name) {
  scanner s = over(object);
  size_t len = strlen(name);
  skip_space(&s);
  if (!take(&s, '{')) return MILLRACE_NULL;
  do {
    skip_space(&s);
    const uint8_t *key = s.at + 1;
    if (!skip_string(&s)) return MILLRACE_NULL;
    // A name that is written with escapes is not recognised.
    bool found = (size_t)(s.at - 1 - key) == len && memcmp(key, name, len) == 0;
    skip_space(&s);
    if (!take(&s, ':')) return MILLRACE_NULL;
    skip_space(&s);
    const uint8_t *value = s.at;
    if (!skip_value(&s, 1)) return MILLRACE_NULL;
    if (found) return (millrace_bytes){value, (uint32_t)(s.at - value)};
    skip_space(&s);
  } while (take(&s, ','));
  return MILLRACE_NULL;
}

typedef struct {
  char *at, *end;
} writer;

static bool put(writer *w, uint32_t byte) {
  if (w->at == w->end) return false;
  *w->at++ = (char)byte;
  return true;
}

static bool put_utf8(writer *w, uint32_t code) {
  if (code < 0x80) return put(w, code);
  if (code < 0x800) return put(w, 0xc0 | code >> 6) && put(w, 0x80 | (code & 0x3f));
  if (code < 0x10000)
    return put(w, 0xe0 | code >> 12) && put(w, 0x80 | (code >> 6 & 0x3f)) && put(w, 0x80 | (code & 0x3f));
  return put(w, 0xf0 | code >> 18) && put(w, 0x80 | (code >> 12 & 0x3f)) && put(w, 0x80 | (code >> 6 & 0x3f)) &&
         put(w, 0x80 | (code & 0x3f));
}

// What an escape with `u` stands for; two of them may stand for one character.
static bool put_escape(writer *w, scanner *s) {
  int32_t code = take_hex(s);
  if (code < 0) return false;
  if (code >= 0xd800 && code < 0xdc00 && take_word(s, "\\u")) {
    int32_t low = take_hex(s);
    if (low < 0xdc00 || low > 0xdfff) return false;
    return put_utf8(w, 0x10000 + ((uint32_t)(code - 0xd800) << 10) + (uint32_t)(low - 0xdc00));
  }
  // Half a character is none.
  return (code < 0xd800 || code > 0xdfff) && put_utf8(w, (uint32_t)code);
}

bool millrace_json_string(millrace_bytes text, char *into, size_t room) {
  scanner s = over(text);
  if (!room || !take(&s, '"')) return false;
  writer w = {into, into + room - 1};
  while (s.at < s.end && *s.at != '"') {
    uint8_t byte = *s.at++;
    if (byte == '\\' && s.at < s.end) {
      byte = *s.at++;
      if (byte == 'u') {
        if (!put_escape(&w, &s)) return false;
        continue;
      }
      const char *letters = "bfnrt", *meant = "\b\f\n\r\t", *letter = strchr(letters, byte);
      if (letter) byte = (uint8_t)meant[letter - letters];
    }
    if (!put(&w, byte)) return false;
  }
  *w.at = 0;
  return s.at < s.end;
}
