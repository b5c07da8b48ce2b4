/* What the code takes for granted: words in memory are little-endian, as on x86-64 and arm64. */
#ifndef ATOLL_PLATFORM_H
#define ATOLL_PLATFORM_H

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "The native core is written for little-endian machines; without it the pure-Python reference is used."
#endif

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

static inline uint64_t load64(const void *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static inline void store64(void *at, uint64_t word) { memcpy(at, &word, sizeof word); }

static inline uint32_t load32(const void *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Lengths and counts in the canonical encoding are big-endian. */
static inline void store32_big(uint8_t *at, uint32_t value)
{
    value = __builtin_bswap32(value);
    memcpy(at, &value, sizeof value);
}

static inline uint32_t load32_big(const uint8_t *at) { return __builtin_bswap32(load32(at)); }

/* Copies in blocks of 16 bytes: up to 15 bytes beyond `length` must be there to be read and written. */
static inline void copy_blocks(uint8_t *to, const uint8_t *from, size_t length)
{
    for (size_t at = 0; at < length; at += 16)
        memcpy(to + at, from + at, 16);
}

#endif
