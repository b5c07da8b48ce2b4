#include "text.h"

#include <string.h>

#include "wire.h"

#define TOPS 0x8080808080808080u

size_t plain_run(const uint8_t *text, size_t length)
{
    size_t at = 0;
    while (length - at >= BLOCK) {
        size_t stop = block_stop(text + at);
        at += stop;
        if (stop < BLOCK)
            return at;
    }
    while (at < length && text[at] != '"' && text[at] != '\\' && text[at] >= 0x20)
        at++;
    return at;
}

static size_t digits(const uint8_t *text, size_t length)
{
    size_t at = 0;
    while (at < length && text[at] >= '0' && text[at] <= '9')
        at++;
    return at;
}

size_t json_number(const uint8_t *text, size_t length)
{
    size_t at = length > 0 && text[0] == '-';
    size_t whole = digits(text + at, length - at);
    if (whole == 0)
        return 0;
    at += text[at] == '0' ? 1 : whole;
    if (at < length && text[at] == '.') {
        size_t fraction = digits(text + at + 1, length - at - 1);
        at += fraction ? 1 + fraction : 0;
    }
    if (at < length && (text[at] == 'e' || text[at] == 'E')) {
        size_t sign = at + 1 < length && (text[at + 1] == '+' || text[at + 1] == '-');
        size_t exponent = digits(text + at + 1 + sign, length - at - 1 - sign);
        at += exponent ? 1 + sign + exponent : 0;
    }
    return at;
}

int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

size_t put_utf8(uint8_t *out, uint32_t code)
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xc0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xe0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | code >> 18);
    out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (code & 0x3f));
    return 4;
}

/* The length of the UTF-8 sequence that starts here; 0 when it is none (RFC 3629, section 4). */
static size_t sequence(const uint8_t *text, size_t length)
{
    uint8_t lead = text[0];
    uint8_t least = 0x80, most = 0xbf; /* of the second byte */
    size_t size;
    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead <= 0xdf) {
        size = 2;
    } else if ((lead & 0xf0) == 0xe0) {
        size = 3;
        least = lead == 0xe0 ? 0xa0 : 0x80;
        most = lead == 0xed ? 0x9f : 0xbf;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        size = 4;
        least = lead == 0xf0 ? 0x90 : 0x80;
        most = lead == 0xf4 ? 0x8f : 0xbf;
    } else {
        return 0;
    }
    if (length < size || text[1] < least || text[1] > most)
        return 0;
    for (size_t i = 2; i < size; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

bool text_is_utf8(const uint8_t *text, size_t length, size_t *wrong)
{
    size_t at = 0;
    while (at < length) {
        while (length - at >= 32 &&
               ((load64(text + at) | load64(text + at + 8) | load64(text + at + 16) | load64(text + at + 24)) & TOPS) == 0)
            at += 32;
        /* Up to the next stretch that may be plain ASCII. */
        for (int i = 0; i < 32 && at < length; i++) {
            size_t size = sequence(text + at, length - at);
            if (size == 0) {
                *wrong = at;
                return false;
            }
            at += size;
        }
    }
    return true;
}

bool canonical_number(const uint8_t *text, size_t length, uint8_t *out, size_t *written)
{
    size_t at = 0;
    bool negative = length > 0 && text[0] == '-';
    if (length > 0 && (text[0] == '-' || text[0] == '+'))
        at++;
    size_t whole_at = at, whole = digits(text + at, length - at), fraction_at = 0, fraction = 0;
    at += whole;
    if (at < length && text[at] == '.') {
        fraction_at = ++at;
        fraction = digits(text + at, length - at);
        at += fraction;
    }
    if (whole + fraction == 0)
        return false;
    int64_t power = 0;
    if (at < length) {
        if (text[at] != 'e' && text[at] != 'E')
            return false;
        at++;
        bool below = at < length && text[at] == '-';
        if (at < length && (text[at] == '-' || text[at] == '+'))
            at++;
        size_t exponent = digits(text + at, length - at);
        if (exponent == 0 || exponent > 9 || at + exponent != length)
            return false;
        for (; at < length; at++)
            power = power * 10 + (text[at] - '0');
        power = below ? -power : power;
    }

    /* All digits in a row, without the zeros before and after. */
    uint8_t *start = out + 1, *end = start;
    memcpy(end, text + whole_at, whole);
    end += whole;
    if (fraction)
        memcpy(end, text + fraction_at, fraction);
    end += fraction;
    while (start < end && *start == '0')
        start++;
    if (start == end) {
        out[0] = '0';
        *written = 1;
        return true;
    }
    power -= (int64_t)fraction;
    while (end[-1] == '0') {
        end--;
        power++;
    }
    uint8_t *to = out;
    if (negative)
        *to++ = '-';
    memmove(to, start, (size_t)(end - start));
    to += end - start;
    *to++ = 'E';
    if (power < 0)
        *to++ = '-';
    uint64_t magnitude = power < 0 ? (uint64_t)-power : (uint64_t)power;
    uint8_t reversed[24];
    size_t count = 0;
    do {
        reversed[count++] = (uint8_t)('0' + magnitude % 10);
        magnitude /= 10;
    } while (magnitude);
    while (count)
        *to++ = reversed[--count];
    *written = (size_t)(to - out);
    return true;
}

static int sextet(uint8_t byte)
{
    if (byte >= 'A' && byte <= 'Z')
        return byte - 'A';
    if (byte >= 'a' && byte <= 'z')
        return byte - 'a' + 26;
    if (byte >= '0' && byte <= '9')
        return byte - '0' + 52;
    return byte == '+' ? 62 : byte == '/' ? 63 : -1;
}

bool decode_base64(const uint8_t *text, size_t length, uint8_t *out, size_t *written)
{
    *written = 0;
    if (length % 4 != 0)
        return false;
    if (length == 0)
        return true;
    size_t padding = text[length - 1] != '=' ? 0 : text[length - 2] != '=' ? 1 : 2;
    uint8_t *to = out;
    for (size_t at = 0; at < length; at += 4) {
        size_t missing = at + 4 == length ? padding : 0;
        int a = sextet(text[at]), b = sextet(text[at + 1]);
        int c = missing > 1 ? 0 : sextet(text[at + 2]), d = missing > 0 ? 0 : sextet(text[at + 3]);
        if ((a | b | c | d) < 0)
            return false;
        uint32_t bits = (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)c << 6 | (uint32_t)d;
        *to++ = (uint8_t)(bits >> 16);
        if (missing < 2)
            *to++ = (uint8_t)(bits >> 8);
        if (missing < 1)
            *to++ = (uint8_t)bits;
    }
    *written = (size_t)(to - out);
    return true;
}
