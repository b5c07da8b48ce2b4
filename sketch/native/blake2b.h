/* BLAKE2b (RFC 7693) of one contiguous message, unkeyed, with a 16-byte digest and a personalisation. */
#ifndef ATOLL_BLAKE2B_H
#define ATOLL_BLAKE2B_H

#include <stddef.h>
#include <stdint.h>

#define DIGEST_BYTES 16
#define PERSON_BYTES 16

void blake2b(const uint8_t person[PERSON_BYTES], const uint8_t *message, size_t length, uint8_t digest[DIGEST_BYTES]);

#endif
