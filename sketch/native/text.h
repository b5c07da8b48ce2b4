/* Pieces of text that need no scanner: runs, UTF-8, numbers, base64. None reads beyond the length it is given. */
#ifndef ATOLL_TEXT_H
#define ATOLL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a canonical number can be longer than its spelling: a sign, an E and an exponent. */
#define NUMBER_EXTRA 32

/* How many bytes there are before a quote, a backslash, a control character or the end. */
size_t plain_run(const uint8_t *text, size_t length);
/* The length of the JSON number that starts here; 0 when none does. */
size_t json_number(const uint8_t *text, size_t length);
/* The value of a hexadecimal digit, or -1. */
int hex_digit(uint8_t byte);
/* Writes up to four bytes; surrogates as the three bytes of their code point. Returns how many. */
size_t put_utf8(uint8_t *out, uint32_t code);
/* The one spelling of a number (docs/canonical-digest.md). Writes up to length + NUMBER_EXTRA bytes. */
bool canonical_number(const uint8_t *text, size_t length, uint8_t *out, size_t *written);
/* Standard alphabet, padded. Writes up to length bytes. */
bool decode_base64(const uint8_t *text, size_t length, uint8_t *out, size_t *written);

#endif
