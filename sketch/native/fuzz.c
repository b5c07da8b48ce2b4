/* Feeds mutated pages and export lines to the reader, under sanitizers: `make fuzz`, or the bounded run in the tests.
 *
 *   fuzz SEED ROUNDS FILE...   each FILE is a seed; its name ends in .page, .lines, .changes, .ion or .ionchanges
 *
 * Each text is read from memory of exactly its size, so that reading one byte too far is seen. After a refusal the
 * table must be untouched. Prints how many texts were accepted and refused, and a mark over all results, which is the
 * same for the same seed on every machine.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform.h"
#include "reader.h"

#define THIRD 31
#define MAX_SEED (1 << 20)

static uint64_t state, mark;

static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static size_t below(size_t bound) { return bound ? (size_t)(next() % bound) : 0; }

static const char *const TOKENS[] = {
    "\"", "\\", "{", "}", "[", "]", ":", ",", "\\u", "\\ud83d", "\\ude00", "\\u0000", "{\"S\":\"", "{\"N\":\"", "{\"B\":\"",
    "{\"M\":{", "{\"L\":[", "{\"SS\":[", "{\"NS\":[", "{\"BS\":[", "true", "null", "1e999999999", "-0.00", "AA==", "=",
    "\"pk\"", "\"Items\"", "\"Keys\"", "\xc3\xa9", "\xf0\x9f\x98\x80", "\xff", "\n", "\x01", "[[[[[[[[", "9999999999999999999",
    "$dynamodb_SS::[", "$dynamodb_NS::[", "'$dynamodb_BS'::[", "{{", "}}", "'''", "'", "null.null", "6d-2", "1_0", "\\x41",
    "\\U0001F600", "Item:", "Record:{", "$ion_1_0",
};

/* Up to eight changes: flip, overwrite, insert a token, cut, repeat a part. Returns the new length. */
static size_t mutate(uint8_t *text, size_t length, size_t room)
{
    for (size_t changes = 1 + below(8); changes; changes--) {
        size_t at = below(length + 1), run = 1 + below(16);
        switch (below(6)) {
        case 0:
            if (at < length)
                text[at] ^= (uint8_t)(1u << below(8));
            break;
        case 1:
            if (at < length)
                text[at] = (uint8_t)next();
            break;
        case 2:
            length = below(8) ? length : at;
            break;
        case 3:
            run = run < length - at ? run : length - at;
            memmove(text + at, text + at + run, length - at - run);
            length -= run;
            break;
        case 4: {
            const char *token = TOKENS[below(sizeof TOKENS / sizeof *TOKENS)];
            size_t size = strlen(token);
            if (length + size > room)
                break;
            memmove(text + at + size, text + at, length - at);
            memcpy(text + at, token, size);
            length += size;
            break;
        }
        default: {
            size_t from = below(length + 1), size = below(length - from + 1);
            if (length + size > room)
                break;
            uint8_t *copy = malloc(size + 1);
            memcpy(copy, text + from, size);
            memmove(text + at + size, text + at, length - at);
            memcpy(text + at, copy, size);
            free(copy);
            length += size;
        }
        }
    }
    return length;
}

static enum kind kind_of(const char *path)
{
    static const char *const endings[] = {".page", ".lines", ".changes", ".ion", ".ionchanges"};
    const char *ending = strrchr(path, '.');
    for (int kind = KIND_PAGE; ending && kind <= KIND_ION_CHANGES; kind++)
        if (strcmp(ending, endings[kind]) == 0)
            return (enum kind)kind;
    return KIND_PAGE;
}

static const uint8_t LAYOUTS[2][48] = {
    {2, 0, 0, 0, 2, 0, 0, 0, 'p', 'k', 2, 0, 0, 0, 's', 'k', 0, 0, 0, 0, 255, 255, 255, 255},
    {1, 0, 0, 0, 2, 0, 0, 0, 'p', 'k', 1, 0, 0, 0, 1, 0, 0, 0, 'a', 1, 0, 0, 0, 1, 0, 0, 0, 't'},
};
static const size_t LAYOUT_BYTES[2] = {24, 28};

/* Whether the text was accepted. */
static int feed(enum kind kind, const uint8_t *text, size_t length)
{
    static uint8_t counts[POSITIONS * THIRD * 8 + 1], cells[POSITIONS * THIRD * sizeof(struct record) + 1];
    static const uint8_t zero[sizeof cells];
    struct layout layout;
    struct outcome outcome;
    /* One byte off, as a buffer of Python may be. */
    struct table table = {THIRD, counts + 1, cells + 1};
    int which = (int)below(2);
    memset(counts, 0, sizeof counts);
    memset(cells, 0, sizeof cells);
    if (!layout_open(&layout, LAYOUTS[which], LAYOUT_BYTES[which]))
        abort();
    read_text(kind, text, length, &layout, &table, &outcome);
    layout_close(&layout);
    if (outcome.problem && (outcome.at > length || memcmp(counts, zero, sizeof counts) || memcmp(cells, zero, sizeof cells)))
        abort();
    mark = mark * 0x9e3779b97f4a7c15u + load64(outcome.total) + (uint64_t)outcome.problem + outcome.at;
    for (size_t at = 1; at < sizeof cells; at += 8)
        mark = (mark << 1 | mark >> 63) ^ load64(cells + at);
    return !outcome.problem;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: fuzz SEED ROUNDS FILE...\n");
        return 2;
    }
    state = strtoull(argv[1], NULL, 10) * 0x9e3779b97f4a7c15u + 1;
    unsigned long long rounds = strtoull(argv[2], NULL, 10), accepted = 0, refused = 0;
    static uint8_t seed[MAX_SEED], text[2 * MAX_SEED];
    for (unsigned long long round = 0; round < rounds; round++) {
        const char *path = argv[3 + round % (unsigned)(argc - 3)];
        FILE *file = fopen(path, "rb");
        if (file == NULL) {
            perror(path);
            return 2;
        }
        size_t length = fread(seed, 1, sizeof seed, file);
        fclose(file);
        memcpy(text, seed, length);
        length = mutate(text, length, sizeof text);
        uint8_t *exact = malloc(length ? length : 1);
        memcpy(exact, text, length);
        if (feed(kind_of(path), exact, length))
            accepted++;
        else
            refused++;
        free(exact);
    }
    printf("%llu accepted, %llu refused, mark %016llx\n", accepted, refused, (unsigned long long)mark);
    return 0;
}
