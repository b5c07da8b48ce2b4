#include "blake2b.h"

#if defined(__x86_64__) && defined(__GNUC__) && (defined(__clang__) || __GNUC__ >= 12)

#include <string.h>

#include "platform.h"

#define LANES 4
#define AVX2 __attribute__((target("avx2")))

/* A word of each message. */
typedef uint64_t words __attribute__((vector_size(8 * LANES)));
typedef uint8_t bytes __attribute__((vector_size(8 * LANES)));

/* Each word with its bytes turned by n; all but one of BLAKE2b's rotations are by whole bytes. */
#define FROM(n, at) (at) / 8 * 8 + ((at) + (n)) % 8
#define TURN(n, at) FROM(n, at), FROM(n, at + 1), FROM(n, at + 2), FROM(n, at + 3), FROM(n, at + 4), FROM(n, at + 5), \
                    FROM(n, at + 6), FROM(n, at + 7)
#define TURNED(x, n) ((words)__builtin_shufflevector((bytes)(x), (bytes)(x), TURN(n, 0), TURN(n, 8), TURN(n, 16), TURN(n, 24)))
#define SHIFTED(x, n) (((x) >> (n)) | ((x) << (64 - (n))))
#define ROTATE(x, n) ((n) % 8 == 0 ? TURNED(x, (n) / 8 % 8) : SHIFTED(x, n))

#include "rounds.h"

/* What is being digested: its state is column `lane` of the states. */
struct lane {
    const uint8_t *at;
    size_t left;
    uint8_t *digest; /* NULL: idle */
};

static const uint8_t nothing[BLAKE2B_BLOCK];

static inline AVX2 words load(const void *at)
{
    words found;
    memcpy(&found, at, sizeof found);
    return found;
}

/* Four words of each of four blocks, turned into four vectors of one word of each. */
static inline AVX2 void transpose(const struct lane lanes[LANES], size_t at, words m[4])
{
    words a = load(lanes[0].at + at), b = load(lanes[1].at + at), c = load(lanes[2].at + at), d = load(lanes[3].at + at);
    words ab_even = __builtin_shufflevector(a, b, 0, 4, 2, 6), ab_odd = __builtin_shufflevector(a, b, 1, 5, 3, 7);
    words cd_even = __builtin_shufflevector(c, d, 0, 4, 2, 6), cd_odd = __builtin_shufflevector(c, d, 1, 5, 3, 7);
    m[0] = __builtin_shufflevector(ab_even, cd_even, 0, 1, 4, 5);
    m[1] = __builtin_shufflevector(ab_odd, cd_odd, 0, 1, 4, 5);
    m[2] = __builtin_shufflevector(ab_even, cd_even, 2, 3, 6, 7);
    m[3] = __builtin_shufflevector(ab_odd, cd_odd, 2, 3, 6, 7);
}

/* One block of each lane. */
static AVX2 void compress(words h[8], const struct lane lanes[LANES], words counted, words last)
{
    words m[16];
    for (size_t i = 0; i < 4; i++)
        transpose(lanes, 32 * i, m + 4 * i);

    words none = {0};
    words v0 = h[0], v1 = h[1], v2 = h[2], v3 = h[3], v4 = h[4], v5 = h[5], v6 = h[6], v7 = h[7];
    words v8 = none + blake2b_iv[0], v9 = none + blake2b_iv[1], v10 = none + blake2b_iv[2], v11 = none + blake2b_iv[3];
    words v12 = counted ^ blake2b_iv[4], v13 = none + blake2b_iv[5], v14 = last ^ blake2b_iv[6];
    words v15 = none + blake2b_iv[7];

    ROUNDS;

    h[0] ^= v0 ^ v8;
    h[1] ^= v1 ^ v9;
    h[2] ^= v2 ^ v10;
    h[3] ^= v3 ^ v11;
    h[4] ^= v4 ^ v12;
    h[5] ^= v5 ^ v13;
    h[6] ^= v6 ^ v14;
    h[7] ^= v7 ^ v15;
}

static AVX2 void digest(const struct message *messages, size_t count)
{
    words h[8] = {{0}}, counted = {0};
    struct lane lanes[LANES] = {{nothing, 0, NULL}, {nothing, 0, NULL}, {nothing, 0, NULL}, {nothing, 0, NULL}};
    size_t next = 0, busy = 0;
    for (;;) {
        words last = {0};
        for (int i = 0; i < LANES; i++) {
            struct lane *lane = &lanes[i];
            if (lane->digest == NULL && next < count) {
                uint64_t begun[8];
                blake2b_begin(begun, messages[next].person);
                for (int word = 0; word < 8; word++)
                    h[word][i] = begun[word];
                counted[i] = 0;
                *lane = (struct lane){messages[next].bytes, messages[next].length, messages[next].digest};
                next++;
                busy++;
            }
            if (lane->digest != NULL) {
                bool ends = lane->left <= BLAKE2B_BLOCK;
                counted[i] += ends ? lane->left : BLAKE2B_BLOCK;
                last[i] = ends ? UINT64_MAX : 0;
            }
        }
        if (busy == 0)
            return;
        compress(h, lanes, counted, last);
        for (int i = 0; i < LANES; i++) {
            struct lane *lane = &lanes[i];
            if (last[i]) {
                store64(lane->digest, h[0][i]);
                store64(lane->digest + 8, h[1][i]);
                *lane = (struct lane){nothing, 0, NULL};
                busy--;
            } else if (lane->digest != NULL) {
                lane->at += BLAKE2B_BLOCK;
                lane->left -= BLAKE2B_BLOCK;
            }
        }
    }
}

bool blake2b_lanes(const struct message *messages, size_t count)
{
    if (count < 2 || !__builtin_cpu_supports("avx2"))
        return false;
    digest(messages, count);
    return true;
}

#else

bool blake2b_lanes(const struct message *messages, size_t count)
{
    (void)messages;
    (void)count;
    return false;
}

#endif
