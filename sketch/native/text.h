/* Pieces of text that need no scanner: runs, UTF-8, numbers, base64. None reads beyond the length it is given. */
#ifndef ATOLL_TEXT_H
#define ATOLL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform.h"

/* What a canonical number can be longer than its spelling: a sign, an E and an exponent. */
#define NUMBER_EXTRA 32

/* How many bytes are looked at at once. */
#ifdef __SSE2__
#include <emmintrin.h>
#define BLOCK 16
#else
#define BLOCK 8
#endif

/* Where, within the BLOCK bytes at `text`, the first quote, backslash or control character is; BLOCK when none is. */
static inline size_t block_stop(const uint8_t *text)
{
#ifdef __SSE2__
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)text);
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    int mask = _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control));
    return (size_t)__builtin_ctz((unsigned)mask | 1u << BLOCK);
#else
    /* A byte is flagged when it is what it is compared with. Flags above the lowest may be false: only that is used. */
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t word = load64(text), quote = word ^ ones * '"', backslash = word ^ ones * '\\';
    uint64_t stop = ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) | ((word - ones * 0x20) & ~word);
    stop &= tops;
    return stop ? (size_t)__builtin_ctzll(stop) / 8 : BLOCK;
#endif
}

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
