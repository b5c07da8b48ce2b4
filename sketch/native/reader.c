#include "reader.h"

#include <stdlib.h>
#include <string.h>

#include "ion.h"
#include "platform.h"

#define MAX_DIGITS 18
#define NO_LIMIT 0xffffffffu
/* Messages are digested side by side, as many as stay in the processor's first cache. */
#define PENDING 64
#define PENDING_BYTES 16384

static const uint8_t ITEM[PERSON_BYTES] = "atoll.item.v1";
static const uint8_t KEY[PERSON_BYTES] = "atoll.key.v1";
static const uint8_t DELETED[PERSON_BYTES] = "atoll.gone.v1";

/* --- layout ------------------------------------------------------------------------------------------------------ */

static bool open_names(struct names *names, const uint8_t *packed, size_t length, size_t *at, bool *unlimited)
{
    if (length - *at < 4)
        return false;
    uint32_t count = load32(packed + *at);
    *at += 4;
    *unlimited = count == NO_LIMIT;
    if (*unlimited || count == 0)
        return true;
    if (count > (length - *at) / 4)
        return false;
    names->spans = malloc(count * sizeof *names->spans);
    if (names->spans == NULL)
        return false;
    for (; names->count < count; names->count++) {
        if (length - *at < 4 || load32(packed + *at) > length - *at - 4)
            return false;
        uint32_t size = load32(packed + *at);
        names->spans[names->count] = (struct span){packed + *at + 4, size};
        *at += 4 + size;
    }
    return true;
}

static bool is_before(struct span one, struct span other)
{
    int order = memcmp(one.start, other.start, one.length < other.length ? one.length : other.length);
    return order ? order < 0 : one.length < other.length;
}

bool layout_open(struct layout *layout, const uint8_t *packed, size_t length)
{
    bool unlimited, no_only;
    size_t at = 0;
    memset(layout, 0, sizeof *layout);
    if (!open_names(&layout->keys, packed, length, &at, &unlimited) || unlimited || layout->keys.count == 0 ||
        !open_names(&layout->ignore, packed, length, &at, &unlimited) || unlimited ||
        !open_names(&layout->only, packed, length, &at, &no_only) || at != length)
        return false;
    layout->has_only = !no_only;
    layout->key_order = malloc(layout->keys.count * sizeof *layout->key_order);
    if (layout->key_order == NULL)
        return false;
    for (size_t i = 0; i < layout->keys.count; i++) {
        size_t j = i;
        for (; j > 0 && is_before(layout->keys.spans[i], layout->keys.spans[layout->key_order[j - 1]]); j--)
            layout->key_order[j] = layout->key_order[j - 1];
        layout->key_order[j] = i;
    }
    return true;
}

void layout_close(struct layout *layout)
{
    free(layout->keys.spans);
    free(layout->ignore.spans);
    free(layout->only.spans);
    free(layout->key_order);
}

static bool is_name(struct span name, const uint8_t *start, size_t length)
{
    return name.length == length && memcmp(name.start, start, length) == 0;
}

static bool has_name(const struct names *names, const uint8_t *start, size_t length)
{
    for (size_t i = 0; i < names->count; i++)
        if (is_name(names->spans[i], start, length))
            return true;
    return false;
}

/* --- elements ---------------------------------------------------------------------------------------------------- */

/* The attributes of an item: entries of the scanner, and where in the text it starts. */
struct image {
    bool found;
    size_t first, count, start;
};

/* What is to be digested: bytes of reader.messages, for a record's item digest or its key digest. */
struct pending {
    const uint8_t *person;
    size_t at, length, record;
    bool of_key;
};

struct reader {
    struct scanner scanner;
    const struct layout *layout;
    struct record *records;
    size_t count, closed, capacity; /* records, and how many of them have their digests */
    size_t *key_entries;            /* the entries that are the key attributes of the last image asked for */
    struct buffer key, other;
    struct buffer messages;
    struct pending pending[PENDING];
    size_t pending_count;
};

static bool add_record(struct reader *r, struct record **record)
{
    if (UNLIKELY(r->count == r->capacity)) {
        size_t capacity = r->capacity ? 2 * r->capacity : 1024;
        struct record *records =
            capacity > SIZE_MAX / sizeof *records ? NULL : realloc(r->records, capacity * sizeof *records);
        if (records == NULL)
            return scan_fail(&r->scanner, PROBLEM_MEMORY, r->scanner.at);
        r->records = records;
        r->capacity = capacity;
    }
    *record = &r->records[r->count++];
    return true;
}

/* `bytes` lie in a buffer, which has some room beyond them. */
static inline bool append(struct reader *r, struct buffer *buffer, const uint8_t *bytes, size_t length)
{
    if (UNLIKELY(buffer->capacity - buffer->length < length + SLACK) && !buffer_reserve(buffer, length))
        return scan_fail(&r->scanner, PROBLEM_MEMORY, r->scanner.at);
    copy_blocks(buffer->bytes + buffer->length, bytes, length);
    buffer->length += length;
    return true;
}

static bool append_map(struct reader *r, struct buffer *buffer, size_t count)
{
    uint8_t head[SLACK] = {'M'};
    store32_big(head + 1, (uint32_t)count);
    return append(r, buffer, head, 5);
}

/* Finds the key attributes of an image. */
static bool find_key(struct reader *r, const struct image *image)
{
    struct scanner *s = &r->scanner;
    for (size_t i = 0; i < r->layout->keys.count; i++) {
        struct span name = r->layout->keys.spans[i];
        size_t at = image->first, end = image->first + image->count;
        while (at < end && !is_name(name, entry_name(s, &s->entries[at]), s->entries[at].name_length))
            at++;
        if (UNLIKELY(at == end))
            return scan_fail(s, PROBLEM_KEY_MISSING, image->start);
        const uint8_t *value = entry_value(s, &s->entries[at]);
        if (UNLIKELY(value[0] != 'S' && value[0] != 'N' && value[0] != 'B'))
            return scan_fail(s, PROBLEM_KEY_TYPE, image->start);
        if (UNLIKELY(load32_big(value + 1) > 0xffff))
            return scan_fail(s, PROBLEM_KEY_LONG, image->start);
        r->key_entries[i] = at;
    }
    return true;
}

/* The key as the canonical encoding has it, of the image that find_key was asked for. */
static bool gather_key(struct reader *r, struct buffer *buffer)
{
    TRY(append_map(r, buffer, r->layout->keys.count));
    for (size_t i = 0; i < r->layout->keys.count; i++) {
        const struct entry *entry = &r->scanner.entries[r->key_entries[r->layout->key_order[i]]];
        TRY(append(r, buffer, r->scanner.output.bytes + entry->at, entry->length));
    }
    return true;
}

/* The key as sketch/keys.py packs it: type, two bytes of length, content, in the order of the key schema. */
static bool pack_key(struct reader *r, struct buffer *buffer)
{
    buffer->length = 0;
    for (size_t i = 0; i < r->layout->keys.count; i++) {
        const struct entry *entry = &r->scanner.entries[r->key_entries[i]];
        const uint8_t *value = entry_value(&r->scanner, entry);
        TRY(append(r, buffer, value, 1));
        TRY(append(r, buffer, value + 3, entry->length - 4 - entry->name_length - 3));
    }
    return true;
}

/* Gathers what counts of an image, in order. */
static bool gather_item(struct reader *r, const struct image *image, struct buffer *buffer)
{
    const struct scanner *s = &r->scanner;
    const struct layout *layout = r->layout;
    size_t start = buffer->length, count = 0;
    TRY(append_map(r, buffer, 0));
    for (size_t i = image->first; i < image->first + image->count; i++) {
        const struct entry *entry = &s->entries[i];
        if (layout->ignore.count || layout->has_only) {
            const uint8_t *name = entry_name(s, entry);
            if (!has_name(&layout->keys, name, entry->name_length) &&
                (has_name(&layout->ignore, name, entry->name_length) ||
                 (layout->has_only && !has_name(&layout->only, name, entry->name_length))))
                continue;
        }
        TRY(append(r, buffer, s->output.bytes + entry->at, entry->length));
        count++;
    }
    store32_big(buffer->bytes + start + 1, (uint32_t)count);
    return true;
}

/* Digests what is pending, and closes the records that wait for it. */
static void digest_pending(struct reader *r)
{
    struct message messages[PENDING];
    for (size_t i = 0; i < r->pending_count; i++) {
        const struct pending *pending = &r->pending[i];
        struct record *record = &r->records[pending->record];
        messages[i] = (struct message){pending->person, r->messages.bytes + pending->at, pending->length,
                                       pending->of_key ? record->key_digest : record->item_digest};
    }
    blake2b(messages, r->pending_count);
    for (; r->closed < r->count; r->closed++)
        record_close(&r->records[r->closed]);
    r->pending_count = r->messages.length = 0;
}

/* What was gathered since `at` is to be digested: zeros to the end of its last block follow it. */
static bool add_pending(struct reader *r, const uint8_t *person, size_t at, bool of_key)
{
    struct buffer *messages = &r->messages;
    size_t length = messages->length - at, zeros = BLAKE2B_BLOCK - length % BLAKE2B_BLOCK;
    if (UNLIKELY(messages->capacity - messages->length < zeros + SLACK) && !buffer_reserve(messages, zeros))
        return scan_fail(&r->scanner, PROBLEM_MEMORY, r->scanner.at);
    memset(messages->bytes + messages->length, 0, zeros);
    messages->length += zeros;
    r->pending[r->pending_count++] = (struct pending){person, at, length, r->count - 1, of_key};
    return true;
}

/* An element from an image whose key was found; without attributes, that of a deleted item. */
static bool add_element(struct reader *r, const struct image *image)
{
    if (r->pending_count + 2 > PENDING || r->messages.length > PENDING_BYTES)
        digest_pending(r);
    struct record *record = NULL;
    TRY(pack_key(r, &r->key));
    TRY(add_record(r, &record));
    record_key(record, r->key.bytes, r->key.length);
    size_t at = r->messages.length;
    TRY(gather_key(r, &r->messages));
    TRY(add_pending(r, KEY, at, true));
    at = r->messages.length;
    if (image == NULL) {
        TRY(gather_key(r, &r->messages));
        return add_pending(r, DELETED, at, false);
    }
    TRY(gather_item(r, image, &r->messages));
    return add_pending(r, ITEM, at, false);
}

static bool read_image(struct reader *r, struct image *image)
{
    struct scanner *s = &r->scanner;
    uint8_t byte;
    TRY(scan_peek(s, &byte));
    image->found = true;
    image->start = s->at;
    bool moved;
    TRY(scan_attributes(s, PROBLEM_CONTENT, &image->first, &moved));
    image->count = s->entry_count - image->first;
    return true;
}

/* Forgets what was scanned, once it is an element. */
static void drop_images(struct reader *r) { r->scanner.output.length = r->scanner.entry_count = 0; }

/* --- a Scan response --------------------------------------------------------------------------------------------- */

static bool read_items(struct reader *r)
{
    struct scanner *s = &r->scanner;
    TRY(scan_enter(s, '[', PROBLEM_CONTENT));
    for (bool first = true, more;; first = false) {
        TRY(scan_more(s, ']', first, &more));
        if (!more)
            return true;
        struct image image;
        TRY(read_image(r, &image));
        TRY(find_key(r, &image));
        TRY(add_element(r, &image));
        drop_images(r);
    }
}

static bool read_whole(struct scanner *s, int64_t *number)
{
    uint8_t byte;
    struct span span;
    TRY(scan_peek(s, &byte));
    size_t at = s->at;
    TRY(scan_number(s, PROBLEM_CONTENT, &span));
    if (span.length > MAX_DIGITS)
        return scan_fail(s, PROBLEM_CONTENT, at);
    *number = 0;
    for (size_t i = 0; i < span.length; i++) {
        if (span.start[i] < '0' || span.start[i] > '9')
            return scan_fail(s, PROBLEM_CONTENT, at);
        *number = *number * 10 + (span.start[i] - '0');
    }
    return true;
}

static bool read_capacity(struct scanner *s, struct outcome *outcome)
{
    TRY(scan_enter(s, '{', PROBLEM_CONTENT));
    for (bool first = true, more;; first = false) {
        TRY(scan_more(s, '}', first, &more));
        if (!more)
            return true;
        uint8_t byte;
        struct span name;
        TRY(scan_peek(s, &byte));
        size_t at = s->at;
        TRY(scan_name(s, &name));
        bool is_units = is_name(name, (const uint8_t *)"CapacityUnits", 13);
        TRY(scan_expect(s, ':', PROBLEM_SYNTAX));
        if (!is_units) {
            TRY(scan_skip(s));
            continue;
        }
        if (outcome->units_start >= 0)
            return scan_fail(s, PROBLEM_MEMBER, at);
        TRY(scan_number(s, PROBLEM_CONTENT, &name));
        outcome->units_end = (int64_t)s->at;
        outcome->units_start = (int64_t)(s->at - name.length);
    }
}

static bool at_end(struct scanner *s)
{
    while (s->at < s->end && strchr(" \t\r\n", s->text[s->at]) != NULL && s->text[s->at] != 0)
        s->at++;
    return s->at == s->end || scan_fail(s, PROBLEM_TRAILING, s->at);
}

enum member { ITEMS, COUNT, SCANNED_COUNT, LAST_KEY, CAPACITY, OTHER };

static enum member page_member(struct span name)
{
    static const char *const members[OTHER] = {"Items", "Count", "ScannedCount", "LastEvaluatedKey", "ConsumedCapacity"};
    for (int i = 0; i < OTHER; i++)
        if (is_name(name, (const uint8_t *)members[i], strlen(members[i])))
            return (enum member)i;
    return OTHER;
}

static bool read_page(struct reader *r, struct outcome *outcome)
{
    struct scanner *s = &r->scanner;
    bool seen[OTHER + 1] = {false};
    int64_t count = -1;
    TRY(scan_enter(s, '{', PROBLEM_SYNTAX));
    for (bool first = true, more;; first = false) {
        TRY(scan_more(s, '}', first, &more));
        if (!more)
            break;
        uint8_t byte;
        struct span name;
        struct image image;
        TRY(scan_peek(s, &byte));
        size_t at = s->at;
        TRY(scan_name(s, &name));
        enum member member = page_member(name);
        if (seen[member] && member != OTHER)
            return scan_fail(s, PROBLEM_MEMBER, at);
        seen[member] = true;
        TRY(scan_expect(s, ':', PROBLEM_SYNTAX));
        switch (member) {
        case ITEMS:
            TRY(read_items(r));
            break;
        case COUNT:
            TRY(read_whole(s, &count));
            break;
        case SCANNED_COUNT:
            TRY(read_whole(s, &outcome->scanned));
            break;
        case LAST_KEY:
            TRY(read_image(r, &image));
            TRY(find_key(r, &image));
            drop_images(r);
            outcome->key_start = (int64_t)image.start;
            outcome->key_end = (int64_t)s->at;
            break;
        case CAPACITY:
            TRY(read_capacity(s, outcome));
            break;
        default:
            TRY(scan_skip(s));
        }
    }
    TRY(at_end(s));
    if (!seen[ITEMS])
        return scan_fail(s, PROBLEM_NO_ITEMS, 0);
    if (seen[COUNT] && (uint64_t)count != r->count)
        return scan_fail(s, PROBLEM_COUNT, 0);
    return true;
}

/* --- export lines ------------------------------------------------------------------------------------------------ */

enum image_name { ITEM_IMAGE, KEYS, NEW_IMAGE, OLD_IMAGE, IMAGES };

/* Which image a name stands for; IMAGES when it is none. */
static int image_of(struct span name)
{
    static const char *const names[IMAGES] = {"Item", "Keys", "NewImage", "OldImage"};
    int which = 0;
    while (which < IMAGES && !is_name(name, (const uint8_t *)names[which], strlen(names[which])))
        which++;
    return which;
}

static bool read_members(struct reader *r, struct image images[IMAGES])
{
    struct scanner *s = &r->scanner;
    memset(images, 0, IMAGES * sizeof *images);
    TRY(scan_enter(s, '{', PROBLEM_SYNTAX));
    for (bool first = true, more;; first = false) {
        TRY(scan_more(s, '}', first, &more));
        if (!more)
            return at_end(s);
        uint8_t byte;
        struct span name;
        TRY(scan_peek(s, &byte));
        size_t at = s->at;
        TRY(scan_name(s, &name));
        int which = image_of(name);
        if (which < IMAGES && images[which].found)
            return scan_fail(s, PROBLEM_MEMBER, at);
        TRY(scan_expect(s, ':', PROBLEM_SYNTAX));
        if (which == IMAGES) {
            TRY(scan_skip(s));
        } else {
            TRY(read_image(r, &images[which]));
        }
    }
}

/* The images in a struct of Ion, past its brace; `wrapped`: they may be within a member Record. */
static bool read_ion_images(struct reader *r, struct image images[IMAGES], bool wrapped)
{
    struct scanner *s = &r->scanner;
    for (bool first = true, more;; first = false) {
        TRY(scan_more(s, '}', first, &more));
        if (!more)
            return true;
        uint8_t byte;
        struct span name;
        TRY(scan_peek(s, &byte));
        size_t at = s->at;
        TRY(ion_name(s, &name));
        int which = image_of(name);
        if (which < IMAGES && images[which].found)
            return scan_fail(s, PROBLEM_MEMBER, at);
        bool is_record = wrapped && is_name(name, (const uint8_t *)"Record", 6);
        TRY(scan_expect(s, ':', PROBLEM_SYNTAX));
        if (which < IMAGES) {
            struct image *image = &images[which];
            bool moved;
            TRY(scan_peek(s, &byte));
            *image = (struct image){.found = true, .start = s->at};
            TRY(ion_attributes(s, &image->first, &moved));
            image->count = s->entry_count - image->first;
        } else if (is_record) {
            TRY(scan_enter(s, '{', PROBLEM_CONTENT));
            TRY(read_ion_images(r, images, false));
        } else {
            TRY(ion_skip(s));
        }
    }
}

static bool read_ion_members(struct reader *r, struct image images[IMAGES], bool wrapped)
{
    struct scanner *s = &r->scanner;
    memset(images, 0, IMAGES * sizeof *images);
    TRY(ion_enter(s));
    TRY(read_ion_images(r, images, wrapped));
    size_t at = s->at;
    return at_end(s) || scan_fail(s, PROBLEM_TRAILING, at);
}

static bool read_line(struct reader *r, enum kind kind, size_t start)
{
    bool is_ion = kind == KIND_ION || kind == KIND_ION_CHANGES;
    bool changes = kind == KIND_CHANGES || kind == KIND_ION_CHANGES;
    struct scanner *s = &r->scanner;
    struct image images[IMAGES];
    TRY(is_ion ? read_ion_members(r, images, changes) : read_members(r, images));
    const struct image *key = &images[changes ? KEYS : ITEM_IMAGE];
    if (!key->found)
        return scan_fail(s, PROBLEM_NO_ITEM, start);
    TRY(find_key(r, key));
    if (!changes)
        return add_element(r, key);
    const struct image *image = &images[NEW_IMAGE];
    if (!image->found)
        return add_element(r, NULL);
    /* The image has to be of the item that the keys are of. */
    r->key.length = r->other.length = 0;
    TRY(gather_key(r, &r->key));
    TRY(find_key(r, image));
    TRY(gather_key(r, &r->other));
    if (r->key.length != r->other.length || memcmp(r->key.bytes, r->other.bytes, r->key.length) != 0)
        return scan_fail(s, PROBLEM_KEY_MISSING, image->start);
    return add_element(r, image);
}

static bool read_lines(struct reader *r, enum kind kind)
{
    struct scanner *s = &r->scanner;
    size_t length = s->end;
    for (size_t at = 0; at < length; at = s->end + 1) {
        const uint8_t *newline = memchr(s->text + at, '\n', length - at);
        s->end = newline ? (size_t)(newline - s->text) : length;
        s->at = at;
        while (s->at < s->end && (s->text[s->at] == ' ' || s->text[s->at] == '\t' || s->text[s->at] == '\r'))
            s->at++;
        if (s->at < s->end)
            TRY(read_line(r, kind, at));
        drop_images(r);
    }
    return true;
}

/* --- all of it --------------------------------------------------------------------------------------------------- */

static bool read_all(struct reader *r, enum kind kind, struct outcome *outcome)
{
    struct scanner *s = &r->scanner;
    size_t wrong;
    if (!text_is_utf8(s->text, s->end, &wrong))
        return scan_fail(s, PROBLEM_ENCODING, wrong);
    r->key_entries = malloc(r->layout->keys.count * sizeof *r->key_entries);
    if (r->key_entries == NULL)
        return scan_fail(s, PROBLEM_MEMORY, 0);
    return kind == KIND_PAGE ? read_page(r, outcome) : read_lines(r, kind);
}

void read_text(enum kind kind, const uint8_t *text, size_t length, const struct layout *layout, struct table *table,
               struct outcome *outcome)
{
    struct reader reader = {.scanner = {.text = text, .end = length}, .layout = layout};
    *outcome = (struct outcome){.scanned = -1, .key_start = -1, .key_end = -1, .units_start = -1, .units_end = -1};
    if (read_all(&reader, kind, outcome)) {
        digest_pending(&reader);
        outcome->items = reader.count;
        table_add(table, reader.records, reader.count);
        record_sum(reader.records, reader.count, outcome->total);
    } else {
        outcome->problem = reader.scanner.problem;
        outcome->at = reader.scanner.problem_at;
    }
    scanner_free(&reader.scanner);
    buffer_free(&reader.key);
    buffer_free(&reader.other);
    buffer_free(&reader.messages);
    free(reader.key_entries);
    free(reader.records);
}
