/* The invertible Bloom lookup table: sketch/table.py in C. Cell layout: docs/sketch.md. */
#ifndef ATOLL_TABLE_H
#define ATOLL_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "blake2b.h"

#define POSITIONS 3
#define KEY_BYTES 96
#define CELL_WORDS 17

/* An element, laid out as a cell: adding it is one exclusive or. */
struct record {
    uint8_t item_digest[DIGEST_BYTES];
    uint8_t key_digest[DIGEST_BYTES];
    uint64_t check;
    uint8_t key[KEY_BYTES]; /* length, then bytes; 255 and nothing when it does not fit */
};

_Static_assert(sizeof(struct record) == 8 * CELL_WORDS, "a record is laid out as a cell");

/* Memory of the caller, of any alignment. */
struct table {
    size_t third;
    uint8_t *counts;
    uint8_t *cells;
};

void record_key(struct record *record, const uint8_t *key, size_t length);
/* Puts in the check over both digests, which are there already. */
void record_close(struct record *record);

void table_add(struct table *table, const struct record *records, size_t count);

/* The sum of the item digests as big-endian numbers, modulo 2**128, big-endian. */
void record_sum(const struct record *records, size_t count, uint8_t total[DIGEST_BYTES]);

#endif
