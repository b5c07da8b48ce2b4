/* Scan responses and export lines to elements of a table: sketch/reference.py in C. */
#ifndef ATOLL_READER_H
#define ATOLL_READER_H

#include "table.h"
#include "wire.h"

/* The kinds of sketch/reference.py. */
enum kind { KIND_PAGE = 0, KIND_LINES = 1, KIND_CHANGES = 2, KIND_ION = 3, KIND_ION_CHANGES = 4 };

struct names {
    size_t count;
    struct span *spans;
};

/* What counts in an item; the bytes of its names belong to the caller. */
struct layout {
    struct names keys, ignore, only;
    bool has_only;
    size_t *key_order; /* of the key attributes, by name */
};

/* From Layout.packed; false when that is not whole or there is no memory. */
bool layout_open(struct layout *layout, const uint8_t *packed, size_t length);
void layout_close(struct layout *layout);

/* What reading came to: Outcome in sketch/reference.py. Where in the text, or -1. */
struct outcome {
    enum problem problem;
    size_t at, items;
    uint8_t total[DIGEST_BYTES];
    int64_t scanned, key_start, key_end, units_start, units_end;
};

/* Adds all items of the text to the table or, when there is a problem, none. */
void read_text(enum kind kind, const uint8_t *text, size_t length, const struct layout *layout, struct table *table,
               struct outcome *outcome);

#endif
