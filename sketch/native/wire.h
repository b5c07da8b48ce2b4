/* DynamoDB JSON to the canonical encoding: sketch/wire.py in C, decision for decision. What is accepted: docs/sketch.md.
 *
 * Functions that can fail return false, with what and where in the scanner; nothing is read after a failure.
 */
#ifndef ATOLL_WIRE_H
#define ATOLL_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform.h"

#define MAX_DEPTH 100

/* The codes of sketch/problems.py. */
enum problem {
    PROBLEM_NONE = 0,
    PROBLEM_ENCODING = 1,
    PROBLEM_END = 2,
    PROBLEM_SYNTAX = 3,
    PROBLEM_CONTROL = 4,
    PROBLEM_ESCAPE = 5,
    PROBLEM_DEPTH = 6,
    PROBLEM_DUPLICATE = 7,
    PROBLEM_VALUE = 8,
    PROBLEM_TYPE = 9,
    PROBLEM_CONTENT = 10,
    PROBLEM_NUMBER = 11,
    PROBLEM_BASE64 = 12,
    PROBLEM_KEY_MISSING = 13,
    PROBLEM_KEY_TYPE = 14,
    PROBLEM_KEY_LONG = 15,
    PROBLEM_MEMBER = 16,
    PROBLEM_NO_ITEMS = 17,
    PROBLEM_COUNT = 18,
    PROBLEM_TRAILING = 19,
    PROBLEM_NO_ITEM = 20,
    PROBLEM_MEMORY = 100, /* the only one that is not the text's fault */
};

/* What fails makes its caller fail. */
#define TRY(call)              \
    do {                       \
        if (UNLIKELY(!(call))) \
            return false;      \
    } while (0)

struct span {
    const uint8_t *start;
    size_t length;
};

static inline bool is_word(struct span span, const char *word, size_t length)
{
    return span.length == length && memcmp(span.start, word, length) == 0;
}

/* Room that every buffer has beyond what was asked for, so that whole blocks can be copied. */
#define SLACK 16

/* Bytes that grow. */
struct buffer {
    uint8_t *bytes;
    size_t length, capacity;
};

bool buffer_reserve(struct buffer *buffer, size_t more);
void buffer_free(struct buffer *buffer);

/* An attribute (length of name, name, value) or set member (length, content) in the scanner's output. */
struct entry {
    uint64_t prefix; /* the first eight bytes of the name, in an order that compares as they do */
    uint32_t at, name_length, length;
};

struct scanner {
    const uint8_t *text;
    size_t at, end;
    int depth;
    enum problem problem;
    size_t problem_at;
    struct buffer output;  /* encoded values */
    struct buffer scratch; /* where they are put in order */
    struct entry *entries; /* of all open maps and sets, innermost last */
    size_t entry_count, entry_capacity;
};

void scanner_free(struct scanner *s);
/* Whether the whole text is UTF-8; else where the first wrong sequence starts. */
bool text_is_utf8(const uint8_t *text, size_t length, size_t *wrong);

bool scan_fail(struct scanner *s, enum problem problem, size_t at);
static inline bool reserve(struct scanner *s, struct buffer *buffer, size_t more)
{
    if (LIKELY(buffer->capacity - buffer->length >= more + SLACK))
        return true;
    return buffer_reserve(buffer, more) || scan_fail(s, PROBLEM_MEMORY, s->at);
}

bool scan_peek(struct scanner *s, uint8_t *byte);
bool scan_expect(struct scanner *s, uint8_t byte, enum problem problem);
bool scan_enter(struct scanner *s, uint8_t byte, enum problem problem);
/* Whether another member follows, in *more. */
bool scan_more(struct scanner *s, uint8_t close, bool first, bool *more);
/* A string that is looked at and dropped: the span is good until the next string is read. */
bool scan_name(struct scanner *s, struct span *name);
bool scan_number(struct scanner *s, enum problem problem, struct span *number);
bool scan_skip(struct scanner *s);
/* Attributes as entries from `first` on, sorted by name, their values in the output; *moved: in another order there. */
bool scan_attributes(struct scanner *s, enum problem problem, size_t *first, bool *moved);

/* What maps and sets are put together from, in whatever notation. Opens one at *at, its count still to come. */
bool scan_open(struct scanner *s, uint8_t tag, size_t *at);
/* Adds what the output has since `at` as an entry. */
bool scan_entry(struct scanner *s, size_t at, size_t name_length);
/* Sorts the attributes from `first` on, of what starts at `start` in the text; two of one name are refused. */
bool scan_sort(struct scanner *s, size_t first, size_t start, bool *moved);
bool scan_close_map(struct scanner *s, size_t at, size_t first, bool moved);
/* Sorts the members as well, and drops those that are there twice. */
bool scan_close_set(struct scanner *s, size_t at, size_t first);

static inline const uint8_t *entry_name(const struct scanner *s, const struct entry *entry)
{
    return s->output.bytes + entry->at + 4;
}

static inline const uint8_t *entry_value(const struct scanner *s, const struct entry *entry)
{
    return entry_name(s, entry) + entry->name_length;
}

#endif
