// Reads JSON in place: no tree, no memory of its own.
#ifndef MILLRACE_JSON_H
#define MILLRACE_JSON_H

#include "millrace.h"

// Whether the bytes are one JSON value and nothing else, at most 64 levels deep.
bool millrace_json_valid(millrace_bytes text);

// The text of a member of an object, as it is written: a string has its quotes. Null when it is not there, or when
// `object` is no object. The object must be valid. Of members with the same name it is the first.
millrace_bytes millrace_json_member(millrace_bytes object, const char *name);

// Writes what a string stands for into `into`, with a zero at its end. False when it is no string, or does not fit.
bool millrace_json_string(millrace_bytes text, char *into, size_t room);

#endif
