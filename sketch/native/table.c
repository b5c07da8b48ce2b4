#include "table.h"

#include <string.h>

#include "platform.h"

#define AHEAD 6
#define TOO_LONG 255

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

void record_key(struct record *record, const uint8_t *key, size_t length)
{
    memset(record->key, 0, KEY_BYTES);
    if (length > KEY_BYTES - 1) {
        record->key[0] = TOO_LONG;
    } else {
        record->key[0] = (uint8_t)length;
        memcpy(record->key + 1, key, length);
    }
}

void record_close(struct record *record)
{
    uint64_t x = 0x9e3779b97f4a7c15u;
    x = mix(x + load64(record->key_digest + 8));
    x = mix(x + load64(record->key_digest));
    x = mix(x + load64(record->item_digest + 8));
    record->check = mix(x + load64(record->item_digest));
}

static size_t position(const struct table *table, const struct record *record, int part)
{
    uint64_t word = load32(record->item_digest + 4 * part);
    return (size_t)part * table->third + (size_t)(word * table->third >> 32);
}

void table_add(struct table *table, const struct record *records, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i + AHEAD < count) {
            for (int part = 0; part < POSITIONS; part++) {
                size_t next = position(table, &records[i + AHEAD], part);
                const uint8_t *cell = table->cells + next * 8 * CELL_WORDS;
                __builtin_prefetch(table->counts + next * 8, 1);
                __builtin_prefetch(cell, 1);
                __builtin_prefetch(cell + 64, 1);
                __builtin_prefetch(cell + 128, 1);
            }
        }
        uint64_t words[CELL_WORDS];
        memcpy(words, &records[i], sizeof words);
        for (int part = 0; part < POSITIONS; part++) {
            size_t at = position(table, &records[i], part);
            uint8_t *cell = table->cells + at * 8 * CELL_WORDS;
            for (int word = 0; word < CELL_WORDS; word++)
                store64(cell + 8 * word, load64(cell + 8 * word) ^ words[word]);
            store64(table->counts + 8 * at, load64(table->counts + 8 * at) + 1);
        }
    }
}

void record_sum(const struct record *records, size_t count, uint8_t total[DIGEST_BYTES])
{
    uint64_t high = 0, low = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t more = __builtin_bswap64(load64(records[i].item_digest + 8));
        low += more;
        high += __builtin_bswap64(load64(records[i].item_digest)) + (low < more);
    }
    store64(total, __builtin_bswap64(high));
    store64(total + 8, __builtin_bswap64(low));
}
