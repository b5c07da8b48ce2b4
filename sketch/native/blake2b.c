#include "blake2b.h"

#include <string.h>

#include "platform.h"

#define ROTATE(x, n) (((x) >> (n)) | ((x) << (64 - (n))))

#include "rounds.h"

const uint64_t blake2b_iv[8] = {
    0x6a09e667f3bcc908u, 0xbb67ae8584caa73bu, 0x3c6ef372fe94f82bu, 0xa54ff53a5f1d36f1u,
    0x510e527fade682d1u, 0x9b05688c2b3e6c1fu, 0x1f83d9abfb41bd6bu, 0x5be0cd19137e2179u,
};

void blake2b_begin(uint64_t h[8], const uint8_t person[PERSON_BYTES])
{
    memcpy(h, blake2b_iv, sizeof blake2b_iv);
    /* The parameter block: digest length, no key, fanout 1, depth 1; the personalisation is its last two words. */
    h[0] ^= 0x01010000u | DIGEST_BYTES;
    h[6] ^= load64(person);
    h[7] ^= load64(person + 8);
}

static void compress(uint64_t h[8], const uint8_t block[BLAKE2B_BLOCK], uint64_t counted, uint64_t last)
{
    uint64_t m[16];
    memcpy(m, block, BLAKE2B_BLOCK);

    uint64_t v0 = h[0], v1 = h[1], v2 = h[2], v3 = h[3], v4 = h[4], v5 = h[5], v6 = h[6], v7 = h[7];
    uint64_t v8 = blake2b_iv[0], v9 = blake2b_iv[1], v10 = blake2b_iv[2], v11 = blake2b_iv[3];
    uint64_t v12 = blake2b_iv[4] ^ counted, v13 = blake2b_iv[5], v14 = blake2b_iv[6] ^ last, v15 = blake2b_iv[7];

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

static void digest(const struct message *message)
{
    uint64_t h[8];
    blake2b_begin(h, message->person);
    /* The last block is marked, so a full one is held back. A message of 2**64 bytes cannot be in memory. */
    size_t done = 0;
    for (; message->length - done > BLAKE2B_BLOCK; done += BLAKE2B_BLOCK)
        compress(h, message->bytes + done, done + BLAKE2B_BLOCK, 0);
    compress(h, message->bytes + done, message->length, UINT64_MAX);
    memcpy(message->digest, h, DIGEST_BYTES);
}

void blake2b(const struct message *messages, size_t count)
{
    if (blake2b_lanes(messages, count))
        return;
    for (size_t i = 0; i < count; i++)
        digest(&messages[i]);
}
