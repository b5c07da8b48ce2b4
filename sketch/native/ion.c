#include "ion.h"

#include <string.h>

#include "platform.h"
#include "text.h"

#define MAX_CODE 0x10ffff

static bool starts(const struct scanner *s, const char *word, size_t length)
{
    return s->end - s->at >= length && memcmp(s->text + s->at, word, length) == 0;
}

static bool put(struct scanner *s, uint8_t byte)
{
    TRY(reserve(s, &s->output, 1));
    s->output.bytes[s->output.length++] = byte;
    return true;
}

/* --- strings and symbols ----------------------------------------------------------------------------------------- */

/* A code point after what the string, which starts at `start` in the output, has so far: a pair of surrogates is one. */
static bool put_code(struct scanner *s, uint32_t code, size_t start)
{
    TRY(reserve(s, &s->output, 4));
    uint8_t *end = s->output.bytes + s->output.length;
    if (code >= 0xdc00 && code < 0xe000 && s->output.length - start >= 3 && end[-3] == 0xed && end[-2] >= 0xa0 &&
        end[-2] < 0xb0) {
        uint32_t high = (uint32_t)(end[-2] & 0x0f) << 6 | (end[-1] & 0x3f);
        s->output.length -= 3;
        end -= 3;
        code = 0x10000 + (high << 10) + (code - 0xdc00);
    }
    s->output.length += put_utf8(end, code);
    return true;
}

static bool escape(struct scanner *s, size_t string_start)
{
    static const char from[] = "\"'\\/?0abtnfrv", to[] = "\"'\\/?\0\a\b\t\n\f\r\v";
    size_t start = s->at;
    if (start + 1 >= s->end)
        return scan_fail(s, PROBLEM_END, s->end);
    uint8_t kind = s->text[start + 1];
    s->at += 2;
    size_t width = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
    if (width == 0) {
        const char *found = kind ? strchr(from, kind) : NULL;
        if (found == NULL)
            return scan_fail(s, PROBLEM_ESCAPE, start);
        return put(s, (uint8_t)to[found - from]);
    }
    if (s->end - s->at < width)
        return scan_fail(s, PROBLEM_ESCAPE, start);
    uint32_t code = 0;
    for (size_t i = 0; i < width; i++) {
        int digit = hex_digit(s->text[s->at + i]);
        if (digit < 0)
            return scan_fail(s, PROBLEM_ESCAPE, start);
        code = code << 4 | (uint32_t)digit;
    }
    if (code > MAX_CODE)
        return scan_fail(s, PROBLEM_ESCAPE, start);
    s->at += width;
    return put_code(s, code, string_start);
}

/* Triple-quoted segments, one after the other: what they say, at the end of the output. */
static bool long_string(struct scanner *s)
{
    size_t start = s->output.length;
    uint8_t byte;
    while (starts(s, "'''", 3)) {
        s->at += 3;
        while (!starts(s, "'''", 3)) {
            if (s->at >= s->end)
                return scan_fail(s, PROBLEM_END, s->end);
            if (s->text[s->at] == '\\')
                TRY(escape(s, start));
            else
                TRY(put(s, s->text[s->at++]));
        }
        s->at += 3;
        TRY(scan_peek(s, &byte));
    }
    return true;
}

/* What is between quotes, at the end of the output; the text is at the first of them. */
static bool quoted(struct scanner *s, uint8_t quote)
{
    if (UNLIKELY(starts(s, "'''", 3)))
        return long_string(s);
    size_t start = s->output.length;
    s->at++;
    for (;;) {
        while (quote == '"' && s->end - s->at >= BLOCK) {
            TRY(reserve(s, &s->output, BLOCK));
            size_t stop = block_stop(s->text + s->at);
            memcpy(s->output.bytes + s->output.length, s->text + s->at, BLOCK);
            s->output.length += stop;
            s->at += stop;
            if (stop < BLOCK)
                break;
        }
        if (s->at >= s->end)
            return scan_fail(s, PROBLEM_END, s->end);
        uint8_t byte = s->text[s->at];
        if (byte == quote) {
            s->at++;
            return true;
        }
        if (byte == '\\') {
            TRY(escape(s, start));
        } else if (UNLIKELY(byte < 0x20 && byte != '\t')) {
            return scan_fail(s, PROBLEM_CONTROL, s->at);
        } else {
            TRY(put(s, byte));
            s->at++;
        }
    }
}

static bool is_letter(uint8_t byte)
{
    uint8_t lower = byte | 0x20;
    return (lower >= 'a' && lower <= 'z') || byte == '_' || byte == '$';
}

static bool is_digit(uint8_t byte) { return byte >= '0' && byte <= '9'; }

static bool bare(struct scanner *s, struct span *found)
{
    size_t at = s->at;
    if (at >= s->end || !is_letter(s->text[at]))
        return scan_fail(s, PROBLEM_SYNTAX, at);
    while (at < s->end && (is_letter(s->text[at]) || is_digit(s->text[at])))
        at++;
    *found = (struct span){s->text + s->at, at - s->at};
    s->at = at;
    return true;
}

/* A field name, bare or quoted with either quote: in the text, or at the end of the output, which is given back. */
bool ion_name(struct scanner *s, struct span *name)
{
    uint8_t byte;
    TRY(scan_peek(s, &byte));
    if (byte != '"' && byte != '\'')
        return bare(s, name);
    size_t before = s->output.length;
    TRY(quoted(s, byte));
    *name = (struct span){s->output.bytes + before, s->output.length - before};
    s->output.length = before;
    return true;
}

/* --- scalars ----------------------------------------------------------------------------------------------------- */

/* Begins content with its length before it; end_sized puts that in. */
static bool begin_sized(struct scanner *s, size_t *at)
{
    TRY(reserve(s, &s->output, 4));
    *at = s->output.length;
    s->output.length += 4;
    return true;
}

static bool end_sized(struct scanner *s, size_t at)
{
    store32_big(s->output.bytes + at, (uint32_t)(s->output.length - at - 4));
    return true;
}

static bool text_member(struct scanner *s)
{
    uint8_t byte;
    size_t at;
    TRY(scan_peek(s, &byte));
    if (byte != '"' && !starts(s, "'''", 3))
        return scan_fail(s, PROBLEM_CONTENT, s->at);
    TRY(begin_sized(s, &at));
    TRY(quoted(s, '"'));
    return end_sized(s, at);
}

/* Digits in groups that underscores part, copied without them; an underscore that parts nothing is left. */
static void digit_groups(struct scanner *s)
{
    struct buffer *out = &s->scratch;
    for (;; s->at++) {
        while (s->at < s->end && is_digit(s->text[s->at]))
            out->bytes[out->length++] = s->text[s->at++];
        if (s->end - s->at < 2 || s->text[s->at] != '_' || !is_digit(s->text[s->at + 1]))
            return;
    }
}

/* Copies a decimal into the scratch buffer, as canonical_number takes it, which has room for the rest of the line. */
static bool spell_decimal(struct scanner *s)
{
    struct buffer *out = &s->scratch;
    const uint8_t *text = s->text;
    if (text[s->at] == '-')
        out->bytes[out->length++] = text[s->at++];
    if (s->at >= s->end || !is_digit(text[s->at]))
        return false;
    if (text[s->at] == '0')
        out->bytes[out->length++] = text[s->at++];
    else
        digit_groups(s);
    if (s->at < s->end && text[s->at] == '.') {
        out->bytes[out->length++] = text[s->at++];
        if (s->at < s->end && is_digit(text[s->at]))
            digit_groups(s);
    }
    uint8_t mark = s->at < s->end ? text[s->at] | 0x20 : 0;
    if (mark == 'd' || mark == 'e') {
        size_t at = s->at + 1;
        at += at < s->end && (text[at] == '+' || text[at] == '-');
        if (at >= s->end || !is_digit(text[at]))
            return false;
        out->bytes[out->length++] = 'e';
        for (s->at++; s->at < at || (s->at < s->end && is_digit(text[s->at])); s->at++)
            out->bytes[out->length++] = text[s->at];
    }
    return s->at >= s->end || (text[s->at] != 0 && strchr(",]}: \t\r\n", text[s->at]) != NULL);
}

/* Where a decimal can reach at most: what no byte of one is ends it. */
static size_t decimal_room(const struct scanner *s)
{
    size_t at = s->at;
    while (at < s->end && (is_digit(s->text[at]) || is_letter(s->text[at]) || strchr("+-.", s->text[at]) != NULL))
        at++;
    return at - s->at;
}

static bool number_member(struct scanner *s)
{
    uint8_t byte;
    size_t at, written;
    TRY(scan_peek(s, &byte));
    size_t start = s->at;
    s->scratch.length = 0;
    TRY(reserve(s, &s->scratch, decimal_room(s)));
    if (!spell_decimal(s))
        return scan_fail(s, PROBLEM_NUMBER, start);
    TRY(begin_sized(s, &at));
    TRY(reserve(s, &s->output, s->scratch.length + NUMBER_EXTRA));
    if (!canonical_number(s->scratch.bytes, s->scratch.length, s->output.bytes + s->output.length, &written))
        return scan_fail(s, PROBLEM_NUMBER, start);
    s->output.length += written;
    return end_sized(s, at);
}

static bool binary_member(struct scanner *s)
{
    uint8_t byte;
    size_t at, written;
    TRY(scan_peek(s, &byte));
    if (!starts(s, "{{", 2))
        return scan_fail(s, PROBLEM_BASE64, s->at);
    const uint8_t *text = s->text + s->at + 2;
    const uint8_t *close = memchr(text, '}', s->end - s->at - 2);
    if (close == NULL || close + 1 >= s->text + s->end || close[1] != '}')
        return scan_fail(s, PROBLEM_BASE64, s->at);
    s->scratch.length = 0;
    TRY(reserve(s, &s->scratch, (size_t)(close - text)));
    for (const uint8_t *from = text; from < close; from++)
        if (*from != ' ' && *from != '\t' && *from != '\r')
            s->scratch.bytes[s->scratch.length++] = *from;
    TRY(begin_sized(s, &at));
    TRY(reserve(s, &s->output, s->scratch.length + 3));
    if (!decode_base64(s->scratch.bytes, s->scratch.length, s->output.bytes + s->output.length, &written))
        return scan_fail(s, PROBLEM_BASE64, s->at);
    s->output.length += written;
    s->at = (size_t)(close - s->text) + 2;
    return end_sized(s, at);
}

/* --- structs, lists and sets ------------------------------------------------------------------------------------- */

static bool value(struct scanner *s);

bool ion_attributes(struct scanner *s, size_t *first, bool *moved)
{
    uint8_t byte;
    TRY(scan_peek(s, &byte));
    size_t start = s->at;
    TRY(scan_enter(s, '{', PROBLEM_CONTENT));
    *first = s->entry_count;
    for (;;) {
        bool more;
        TRY(scan_more(s, '}', s->entry_count == *first, &more));
        if (!more)
            return scan_sort(s, *first, start, moved);
        size_t at;
        struct span name;
        TRY(begin_sized(s, &at));
        TRY(ion_name(s, &name));
        if (name.start == s->output.bytes + s->output.length) {
            s->output.length += name.length;
        } else {
            TRY(reserve(s, &s->output, name.length));
            memcpy(s->output.bytes + s->output.length, name.start, name.length);
            s->output.length += name.length;
        }
        end_sized(s, at);
        TRY(scan_expect(s, ':', PROBLEM_SYNTAX));
        TRY(value(s));
        TRY(scan_entry(s, at, name.length));
    }
}

static bool map(struct scanner *s)
{
    size_t at, first;
    bool moved;
    TRY(scan_open(s, 'M', &at));
    TRY(ion_attributes(s, &first, &moved));
    return scan_close_map(s, at, first, moved);
}

static bool list(struct scanner *s)
{
    size_t at;
    TRY(scan_open(s, 'L', &at));
    TRY(scan_enter(s, '[', PROBLEM_CONTENT));
    for (uint32_t count = 0;; count++) {
        bool more;
        TRY(scan_more(s, ']', count == 0, &more));
        if (!more) {
            store32_big(s->output.bytes + at + 1, count);
            return true;
        }
        TRY(value(s));
    }
}

static bool set(struct scanner *s, uint8_t tag)
{
    size_t at, first = s->entry_count;
    TRY(scan_open(s, tag, &at));
    TRY(scan_enter(s, '[', PROBLEM_CONTENT));
    for (;;) {
        bool more;
        TRY(scan_more(s, ']', s->entry_count == first, &more));
        if (!more)
            return scan_close_set(s, at, first);
        size_t start = s->output.length;
        TRY(tag == 's' ? text_member(s) : tag == 'n' ? number_member(s) : binary_member(s));
        TRY(scan_entry(s, start, s->output.length - start - 4));
    }
}

/* Which set an annotation announces; 0 when none. */
static uint8_t set_of(struct span word)
{
    static const char prefix[] = "$dynamodb_";
    size_t length = sizeof prefix - 1;
    if (word.length != length + 2 || memcmp(word.start, prefix, length) != 0 || word.start[length + 1] != 'S')
        return 0;
    uint8_t kind = word.start[length];
    return kind == 'S' ? 's' : kind == 'N' ? 'n' : kind == 'B' ? 'b' : 0;
}

/* An annotated set, true, false or null. */
static bool word(struct scanner *s)
{
    size_t at = s->at;
    bool is_quoted = s->text[at] == '\'';
    uint8_t byte;
    struct span found, type;
    TRY(is_quoted ? ion_name(s, &found) : bare(s, &found));
    uint8_t tag = set_of(found);
    if (tag && starts(s, "::", 2)) {
        s->at += 2;
        TRY(scan_peek(s, &byte));
        return set(s, tag);
    }
    if (!is_quoted && is_word(found, "true", 4))
        return put(s, 'T');
    if (!is_quoted && is_word(found, "false", 5))
        return put(s, 'F');
    if (is_quoted || !is_word(found, "null", 4))
        return scan_fail(s, PROBLEM_TYPE, at);
    if (starts(s, ".", 1)) {
        s->at++;
        TRY(bare(s, &type));
        if (!is_word(type, "null", 4))
            return scan_fail(s, PROBLEM_TYPE, at);
    }
    return put(s, 'Z');
}

static bool value(struct scanner *s)
{
    uint8_t byte;
    TRY(scan_peek(s, &byte));
    if (byte == '"' || starts(s, "'''", 3))
        return put(s, 'S') && text_member(s);
    if (starts(s, "{{", 2))
        return put(s, 'B') && binary_member(s);
    if (byte == '{')
        return map(s);
    if (byte == '[')
        return list(s);
    if (byte == '-' || is_digit(byte))
        return put(s, 'N') && number_member(s);
    return word(s);
}

/* --- lines ------------------------------------------------------------------------------------------------------- */

bool ion_enter(struct scanner *s)
{
    static const char version[] = "$ion_1_0";
    uint8_t byte;
    TRY(scan_peek(s, &byte));
    if (!starts(s, version, sizeof version - 1))
        return scan_fail(s, PROBLEM_SYNTAX, s->at);
    s->at += sizeof version - 1;
    return scan_enter(s, '{', PROBLEM_SYNTAX);
}

bool ion_skip(struct scanner *s)
{
    size_t before = s->output.length;
    TRY(value(s));
    s->output.length = before;
    return true;
}
