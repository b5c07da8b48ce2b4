#include "wire.h"

#include <stdlib.h>
#include <string.h>

#include "platform.h"
#include "text.h"

/* --- memory ------------------------------------------------------------------------------------------------------ */

bool buffer_reserve(struct buffer *buffer, size_t more)
{
    if (LIKELY(buffer->capacity - buffer->length >= more + SLACK))
        return true;
    size_t capacity = buffer->capacity ? buffer->capacity : 4096;
    while (capacity - buffer->length < more + SLACK) {
        if (capacity > SIZE_MAX / 2)
            return false;
        capacity *= 2;
    }
    uint8_t *bytes = realloc(buffer->bytes, capacity);
    if (bytes == NULL)
        return false;
    buffer->bytes = bytes;
    buffer->capacity = capacity;
    return true;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->bytes);
    memset(buffer, 0, sizeof *buffer);
}

void scanner_free(struct scanner *s)
{
    buffer_free(&s->output);
    buffer_free(&s->scratch);
    free(s->entries);
    s->entries = NULL;
}

bool scan_fail(struct scanner *s, enum problem problem, size_t at)
{
    s->problem = problem;
    s->problem_at = at;
    return false;
}

static inline bool push(struct scanner *s, struct entry **entry)
{
    if (UNLIKELY(s->entry_count == s->entry_capacity)) {
        size_t capacity = s->entry_capacity ? 2 * s->entry_capacity : 64;
        if (capacity > SIZE_MAX / sizeof(struct entry))
            return scan_fail(s, PROBLEM_MEMORY, s->at);
        struct entry *entries = realloc(s->entries, capacity * sizeof(struct entry));
        if (entries == NULL)
            return scan_fail(s, PROBLEM_MEMORY, s->at);
        s->entries = entries;
        s->entry_capacity = capacity;
    }
    *entry = &s->entries[s->entry_count++];
    return true;
}

/* --- JSON -------------------------------------------------------------------------------------------------------- */

static bool is_space(uint8_t byte) { return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r'; }

static bool peek_past_space(struct scanner *s, uint8_t *byte)
{
    while (s->at < s->end && is_space(s->text[s->at]))
        s->at++;
    if (s->at >= s->end)
        return scan_fail(s, PROBLEM_END, s->end);
    *byte = s->text[s->at];
    return true;
}

/* The service writes no white space. */
static inline bool peek(struct scanner *s, uint8_t *byte)
{
    if (LIKELY(s->at < s->end)) {
        *byte = s->text[s->at];
        if (LIKELY(*byte > ' '))
            return true;
    }
    return peek_past_space(s, byte);
}

static inline bool expect(struct scanner *s, uint8_t byte, enum problem problem)
{
    uint8_t found;
    TRY(peek(s, &found));
    if (UNLIKELY(found != byte))
        return scan_fail(s, problem, s->at);
    s->at++;
    return true;
}

static inline bool enter(struct scanner *s, uint8_t byte, enum problem problem)
{
    uint8_t found;
    TRY(peek(s, &found));
    if (UNLIKELY(found != byte))
        return scan_fail(s, problem, s->at);
    if (UNLIKELY(++s->depth > MAX_DEPTH))
        return scan_fail(s, PROBLEM_DEPTH, s->at);
    s->at++;
    return true;
}

static inline bool another(struct scanner *s, uint8_t close, bool first, bool *more)
{
    uint8_t byte;
    TRY(peek(s, &byte));
    *more = byte != close;
    if (!*more) {
        s->at++;
        s->depth--;
        return true;
    }
    if (first)
        return true;
    if (UNLIKELY(byte != ','))
        return scan_fail(s, PROBLEM_SYNTAX, s->at);
    s->at++;
    TRY(peek(s, &byte));
    return LIKELY(byte != close) || scan_fail(s, PROBLEM_SYNTAX, s->at);
}

bool scan_peek(struct scanner *s, uint8_t *byte) { return peek(s, byte); }
bool scan_expect(struct scanner *s, uint8_t byte, enum problem problem) { return expect(s, byte, problem); }
bool scan_enter(struct scanner *s, uint8_t byte, enum problem problem) { return enter(s, byte, problem); }
bool scan_more(struct scanner *s, uint8_t close, bool first, bool *more) { return another(s, close, first, more); }

/* The value of four hexadecimal digits at `at`; start is where the escape began. */
static bool hexadecimal(struct scanner *s, size_t at, size_t start, uint32_t *unit)
{
    *unit = 0;
    for (int i = 0; i < 4; i++, at++) {
        if (at >= s->end)
            return scan_fail(s, PROBLEM_END, s->end);
        int digit = hex_digit(s->text[at]);
        if (digit < 0)
            return scan_fail(s, PROBLEM_ESCAPE, start);
        *unit = *unit << 4 | (uint32_t)digit;
    }
    return true;
}

static bool escape(struct scanner *s, struct buffer *out)
{
    size_t start = s->at;
    if (start + 1 >= s->end)
        return scan_fail(s, PROBLEM_END, s->end);
    uint8_t kind = s->text[start + 1];
    if (kind != 'u') {
        static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
        const char *found = kind ? strchr(from, kind) : NULL;
        if (found == NULL)
            return scan_fail(s, PROBLEM_ESCAPE, start);
        s->at += 2;
        out->bytes[out->length++] = (uint8_t)to[found - from];
        return true;
    }
    uint32_t unit;
    TRY(hexadecimal(s, start + 2, start, &unit));
    s->at += 6;
    if (unit >= 0xd800 && unit < 0xdc00 && s->end - s->at >= 6 && s->text[s->at] == '\\' && s->text[s->at + 1] == 'u') {
        uint32_t low = 0;
        bool whole = true;
        for (size_t at = s->at + 2; at < s->at + 6; at++) {
            int digit = hex_digit(s->text[at]);
            whole = whole && digit >= 0;
            low = low << 4 | (uint32_t)(digit & 15);
        }
        if (whole && low >= 0xdc00 && low < 0xe000) {
            unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            s->at += 6;
        }
    }
    out->length += put_utf8(out->bytes + out->length, unit);
    return true;
}

/* The rest of a string with escapes, from its first one on. Each escape is longer than what it stands for. */
static bool unescape(struct scanner *s, struct buffer *out)
{
    for (;;) {
        size_t run = plain_run(s->text + s->at, s->end - s->at);
        TRY(reserve(s, out, run + 8));
        memcpy(out->bytes + out->length, s->text + s->at, run);
        out->length += run;
        s->at += run;
        if (s->at >= s->end)
            return scan_fail(s, PROBLEM_END, s->end);
        uint8_t byte = s->text[s->at];
        if (byte == '"') {
            s->at++;
            return true;
        }
        if (byte != '\\')
            return scan_fail(s, PROBLEM_CONTROL, s->at);
        TRY(escape(s, out));
    }
}

/* A string: in the text where it has no escapes, else at the end of the output, which is given back. */
static bool string(struct scanner *s, enum problem problem, struct span *found)
{
    TRY(expect(s, '"', problem));
    size_t run = plain_run(s->text + s->at, s->end - s->at);
    if (LIKELY(s->at + run < s->end && s->text[s->at + run] == '"')) {
        *found = (struct span){s->text + s->at, run};
        s->at += run + 1;
        return true;
    }
    size_t before = s->output.length;
    TRY(unescape(s, &s->output));
    *found = (struct span){s->output.bytes + before, s->output.length - before};
    s->output.length = before;
    return true;
}

bool scan_name(struct scanner *s, struct span *name) { return string(s, PROBLEM_SYNTAX, name); }

/* A string with its length before it, at the end of the output. Copied and looked at in one pass. */
static inline bool sized_string(struct scanner *s, enum problem problem)
{
    TRY(expect(s, '"', problem));
    TRY(reserve(s, &s->output, 4 + BLOCK));
    size_t before = s->output.length, at = s->at;
    s->output.length += 4;
    bool whole = false;
    while (LIKELY(s->end - at >= BLOCK)) {
        TRY(reserve(s, &s->output, BLOCK));
        size_t stop = block_stop(s->text + at);
        memcpy(s->output.bytes + s->output.length, s->text + at, BLOCK);
        s->output.length += stop;
        at += stop;
        if (stop < BLOCK) {
            whole = s->text[at] == '"';
            break;
        }
    }
    s->at = at + whole;
    if (UNLIKELY(!whole))
        TRY(unescape(s, &s->output));
    store32_big(s->output.bytes + before, (uint32_t)(s->output.length - before - 4));
    return true;
}

static bool literal(struct scanner *s, const char *word, size_t length, enum problem problem)
{
    if (s->end - s->at < length || memcmp(s->text + s->at, word, length) != 0)
        return scan_fail(s, problem, s->at);
    s->at += length;
    return true;
}

bool scan_number(struct scanner *s, enum problem problem, struct span *number)
{
    uint8_t byte;
    TRY(peek(s, &byte));
    size_t length = json_number(s->text + s->at, s->end - s->at);
    if (length == 0)
        return scan_fail(s, problem, s->at);
    *number = (struct span){s->text + s->at, length};
    s->at += length;
    return true;
}

bool scan_skip(struct scanner *s)
{
    uint8_t byte;
    struct span dropped;
    TRY(peek(s, &byte));
    switch (byte) {
    case '"':
        return scan_name(s, &dropped);
    case '{':
    case '[':
        TRY(enter(s, byte, PROBLEM_SYNTAX));
        for (bool first = true, more;; first = false) {
            TRY(another(s, byte == '{' ? '}' : ']', first, &more));
            if (!more)
                return true;
            if (byte == '{') {
                TRY(scan_name(s, &dropped));
                TRY(expect(s, ':', PROBLEM_SYNTAX));
            }
            TRY(scan_skip(s));
        }
    case 't':
        return literal(s, "true", 4, PROBLEM_SYNTAX);
    case 'f':
        return literal(s, "false", 5, PROBLEM_SYNTAX);
    case 'n':
        return literal(s, "null", 4, PROBLEM_SYNTAX);
    default:
        return scan_number(s, PROBLEM_SYNTAX, &dropped);
    }
}

/* --- order ------------------------------------------------------------------------------------------------------- */

/* For qsort, which hands over no context: entries compare by bytes that are looked up from here. */
struct keyed {
    struct entry entry;
    const uint8_t *name;
};

static int compare_names(const uint8_t *one, size_t one_length, const uint8_t *other, size_t other_length)
{
    int order = memcmp(one, other, one_length < other_length ? one_length : other_length);
    if (order != 0)
        return order;
    return (one_length > other_length) - (one_length < other_length);
}

static inline int compare_entries(const struct scanner *s, const struct entry *one, const struct entry *other)
{
    if (one->prefix != other->prefix)
        return one->prefix < other->prefix ? -1 : 1;
    return compare_names(entry_name(s, one), one->name_length, entry_name(s, other), other->name_length);
}

static int compare_keyed(const void *one, const void *other)
{
    const struct keyed *a = one, *b = other;
    if (a->entry.prefix != b->entry.prefix)
        return a->entry.prefix < b->entry.prefix ? -1 : 1;
    return compare_names(a->name, a->entry.name_length, b->name, b->entry.name_length);
}

/* Sorts the entries from `first` on; *moved says whether they were out of order. */
static bool sort_entries(struct scanner *s, size_t first, bool *moved)
{
    struct entry *entries = s->entries + first;
    size_t count = s->entry_count - first;
    *moved = false;
    if (count <= 48) {
        for (size_t i = 1; i < count; i++) {
            struct entry entry = entries[i];
            size_t j = i;
            while (j > 0 && compare_entries(s, &entry, &entries[j - 1]) < 0) {
                entries[j] = entries[j - 1];
                j--;
            }
            *moved = *moved || j != i;
            entries[j] = entry;
        }
        return true;
    }
    size_t i = 1;
    while (i < count && compare_entries(s, &entries[i - 1], &entries[i]) <= 0)
        i++;
    if (i == count)
        return true;
    *moved = true;
    struct keyed *keyed = count > SIZE_MAX / sizeof *keyed ? NULL : malloc(count * sizeof *keyed);
    if (keyed == NULL)
        return scan_fail(s, PROBLEM_MEMORY, s->at);
    for (i = 0; i < count; i++)
        keyed[i] = (struct keyed){entries[i], entry_name(s, &entries[i])};
    qsort(keyed, count, sizeof *keyed, compare_keyed);
    for (i = 0; i < count; i++)
        entries[i] = keyed[i].entry;
    free(keyed);
    return true;
}

/* Closes an entry whose bytes end where the output ends now. */
static inline void close_entry(struct scanner *s, struct entry *entry, size_t at, size_t name_length)
{
    /* There is room to read eight bytes, whatever is in them. */
    uint64_t prefix = load64(s->output.bytes + at + 4);
    if (name_length < 8)
        prefix &= ((uint64_t)1 << 8 * name_length) - 1;
    *entry = (struct entry){__builtin_bswap64(prefix), (uint32_t)at, (uint32_t)name_length,
                            (uint32_t)(s->output.length - at)};
}

/* Puts the entries' bytes in order; they are all that follows `start` in the output. */
static bool rewrite(struct scanner *s, size_t first, size_t start)
{
    s->scratch.length = 0;
    TRY(reserve(s, &s->scratch, s->output.length - start));
    for (size_t i = first; i < s->entry_count; i++) {
        const struct entry *entry = &s->entries[i];
        copy_blocks(s->scratch.bytes + s->scratch.length, s->output.bytes + entry->at, entry->length);
        s->scratch.length += entry->length;
    }
    memcpy(s->output.bytes + start, s->scratch.bytes, s->scratch.length);
    s->output.length = start + s->scratch.length;
    return true;
}

bool scan_entry(struct scanner *s, size_t at, size_t name_length)
{
    struct entry *entry;
    TRY(push(s, &entry));
    close_entry(s, entry, at, name_length);
    return true;
}

bool scan_sort(struct scanner *s, size_t first, size_t start, bool *moved)
{
    TRY(sort_entries(s, first, moved));
    for (size_t i = first + 1; i < s->entry_count; i++)
        if (UNLIKELY(compare_entries(s, &s->entries[i - 1], &s->entries[i]) == 0))
            return scan_fail(s, PROBLEM_DUPLICATE, start);
    return true;
}

bool scan_close_map(struct scanner *s, size_t at, size_t first, bool moved)
{
    store32_big(s->output.bytes + at + 1, (uint32_t)(s->entry_count - first));
    if (moved)
        TRY(rewrite(s, first, at + 5));
    s->entry_count = first;
    return true;
}

bool scan_close_set(struct scanner *s, size_t at, size_t first)
{
    bool moved;
    TRY(sort_entries(s, first, &moved));
    size_t kept = first;
    for (size_t i = first; i < s->entry_count; i++)
        if (i == first || compare_entries(s, &s->entries[kept - 1], &s->entries[i]) != 0)
            s->entries[kept++] = s->entries[i];
    if (moved || kept != s->entry_count) {
        s->entry_count = kept;
        TRY(rewrite(s, first, at + 5));
    }
    store32_big(s->output.bytes + at + 1, (uint32_t)(kept - first));
    s->entry_count = first;
    return true;
}

/* --- DynamoDB JSON ----------------------------------------------------------------------------------------------- */

static bool value(struct scanner *s);

static bool open_tag(struct scanner *s, uint8_t tag, size_t *at)
{
    TRY(reserve(s, &s->output, 5));
    *at = s->output.length;
    s->output.bytes[*at] = tag;
    s->output.length += 5;
    return true;
}

bool scan_open(struct scanner *s, uint8_t tag, size_t *at) { return open_tag(s, tag, at); }

bool scan_attributes(struct scanner *s, enum problem problem, size_t *first, bool *moved)
{
    uint8_t byte;
    TRY(peek(s, &byte));
    size_t start = s->at;
    TRY(enter(s, '{', problem));
    *first = s->entry_count;
    for (;;) {
        bool more;
        TRY(another(s, '}', s->entry_count == *first, &more));
        if (!more)
            break;
        size_t at = s->output.length;
        TRY(sized_string(s, PROBLEM_SYNTAX));
        size_t name_length = s->output.length - at - 4;
        TRY(expect(s, ':', PROBLEM_SYNTAX));
        TRY(value(s));
        struct entry *entry;
        TRY(push(s, &entry));
        close_entry(s, entry, at, name_length);
    }
    return scan_sort(s, *first, start, moved);
}

static bool map(struct scanner *s)
{
    size_t at, first;
    bool moved;
    TRY(open_tag(s, 'M', &at));
    TRY(scan_attributes(s, PROBLEM_CONTENT, &first, &moved));
    return scan_close_map(s, at, first, moved);
}

static bool list(struct scanner *s)
{
    size_t at;
    TRY(open_tag(s, 'L', &at));
    TRY(enter(s, '[', PROBLEM_CONTENT));
    uint32_t count = 0;
    for (;; count++) {
        bool more;
        TRY(another(s, ']', count == 0, &more));
        if (!more)
            break;
        TRY(value(s));
    }
    store32_big(s->output.bytes + at + 1, count);
    return true;
}

static inline bool text_member(struct scanner *s) { return sized_string(s, PROBLEM_CONTENT); }

/* A string turned into something else, with its length before it: at most `extra` bytes longer than it was. */
static inline bool converted(struct scanner *s, enum problem problem, size_t extra,
                      bool (*convert)(const uint8_t *, size_t, uint8_t *, size_t *))
{
    uint8_t byte;
    TRY(peek(s, &byte));
    size_t start = s->at, before = s->output.length;
    struct span found;
    TRY(string(s, PROBLEM_CONTENT, &found));
    /* What had escapes lies at the end of the output, where the result goes: it moves out of the way first. */
    if (UNLIKELY(found.start == s->output.bytes + before)) {
        s->scratch.length = 0;
        TRY(reserve(s, &s->scratch, found.length + 1));
        memcpy(s->scratch.bytes, found.start, found.length);
        found.start = s->scratch.bytes;
    }
    TRY(reserve(s, &s->output, 4 + found.length + extra));
    size_t length;
    if (UNLIKELY(!convert(found.start, found.length, s->output.bytes + before + 4, &length)))
        return scan_fail(s, problem, start);
    store32_big(s->output.bytes + before, (uint32_t)length);
    s->output.length = before + 4 + length;
    return true;
}

static inline bool number_member(struct scanner *s)
{
    return converted(s, PROBLEM_NUMBER, NUMBER_EXTRA, canonical_number);
}

static bool binary_member(struct scanner *s) { return converted(s, PROBLEM_BASE64, 3, decode_base64); }

static inline bool set(struct scanner *s, uint8_t tag, bool (*member)(struct scanner *))
{
    size_t at, first = s->entry_count;
    TRY(open_tag(s, tag, &at));
    TRY(enter(s, '[', PROBLEM_CONTENT));
    for (;;) {
        bool more;
        TRY(another(s, ']', s->entry_count == first, &more));
        if (!more)
            break;
        size_t start = s->output.length;
        TRY(member(s));
        struct entry *entry;
        TRY(push(s, &entry));
        close_entry(s, entry, start, s->output.length - start - 4);
    }
    return scan_close_set(s, at, first);
}

static bool single(struct scanner *s, const char *word, size_t length, uint8_t tag)
{
    TRY(literal(s, word, length, PROBLEM_CONTENT));
    TRY(reserve(s, &s->output, 1));
    s->output.bytes[s->output.length++] = tag;
    return true;
}

static inline bool tagged(struct scanner *s, uint8_t tag, bool (*member)(struct scanner *))
{
    TRY(reserve(s, &s->output, 1));
    s->output.bytes[s->output.length++] = tag;
    return member(s);
}

/* The type that a name stands for, as one byte; 0 when it is none. */
static int type_of(struct span name)
{
    uint8_t first = name.length ? name.start[0] : 0;
    bool is_set = name.length == 2 && name.start[1] == 'S';
    switch (first) {
    case 'S':
        return name.length == 1 ? 'S' : is_set ? 's' : 0;
    case 'N':
        return name.length == 1 ? 'N' : is_set ? 'n' : is_word(name, "NULL", 4) ? 'Z' : 0;
    case 'B':
        return name.length == 1 ? 'B' : is_set ? 'b' : is_word(name, "BOOL", 4) ? 'T' : 0;
    case 'L':
    case 'M':
        return name.length == 1 ? first : 0;
    default:
        return 0;
    }
}

static inline bool content(struct scanner *s, int type)
{
    uint8_t byte;
    switch (type) {
    case 'S':
        return tagged(s, 'S', text_member);
    case 'N':
        return tagged(s, 'N', number_member);
    case 'B':
        return tagged(s, 'B', binary_member);
    case 's':
        return set(s, 's', text_member);
    case 'n':
        return set(s, 'n', number_member);
    case 'b':
        return set(s, 'b', binary_member);
    case 'L':
        return list(s);
    case 'M':
        return map(s);
    case 'T':
        TRY(peek(s, &byte));
        return byte == 't' ? single(s, "true", 4, 'T') : single(s, "false", 5, 'F');
    default:
        TRY(peek(s, &byte));
        return single(s, "true", 4, 'Z');
    }
}

/* The type of a value, past the colon. */
static bool value_type(struct scanner *s, size_t start, int *type)
{
    uint8_t byte;
    TRY(peek(s, &byte));
    if (UNLIKELY(byte == '}'))
        return scan_fail(s, PROBLEM_VALUE, start);
    size_t at = s->at;
    struct span name;
    TRY(string(s, PROBLEM_SYNTAX, &name));
    *type = type_of(name);
    if (UNLIKELY(*type == 0))
        return scan_fail(s, PROBLEM_TYPE, at);
    return expect(s, ':', PROBLEM_SYNTAX);
}

static bool value(struct scanner *s)
{
    uint8_t byte;
    TRY(peek(s, &byte));
    size_t start = s->at;
    TRY(enter(s, '{', PROBLEM_VALUE));
    const uint8_t *text = s->text + s->at;
    int type = 0;
    /* As the service writes it: "S": and so on. */
    if (LIKELY(s->end - s->at >= 4 && text[0] == '"' && text[2] == '"' && text[3] == ':'))
        type = type_of((struct span){text + 1, 1});
    if (LIKELY(type != 0))
        s->at += 4;
    else
        TRY(value_type(s, start, &type));
    TRY(content(s, type));
    TRY(peek(s, &byte));
    if (UNLIKELY(byte == ','))
        return scan_fail(s, PROBLEM_VALUE, start);
    if (UNLIKELY(byte != '}'))
        return scan_fail(s, PROBLEM_SYNTAX, s->at);
    s->at++;
    s->depth--;
    return true;
}
