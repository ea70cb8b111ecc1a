// ChaCha20-Poly1305 of Intel's libipsec-mb, where the machine has it. It is loaded at run time: no build needs it, and no
// program fails without it.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct fabric_multibuffer fabric_multibuffer;

// NULL where the library is missing, is of a version whose layout is not known here, or the processor is another one.
// An instance belongs to one thread at a time.
fabric_multibuffer *fabric_multibuffer_create(void);
void fabric_multibuffer_destroy(fabric_multibuffer *library);

// RFC 8439 in place: 32 bytes of key, 12 of nonce; the tag (16 bytes) stands behind the `count` bytes. 0, or -1 when the
// library did not do it, or the tag of what is to be opened does not match; then the bytes are undefined.
int fabric_multibuffer_seal(
    fabric_multibuffer *library, const uint8_t *key, const uint8_t *nonce, const uint8_t *additional,
    size_t additional_count, uint8_t *bytes, size_t count);
int fabric_multibuffer_open(
    fabric_multibuffer *library, const uint8_t *key, const uint8_t *nonce, const uint8_t *additional,
    size_t additional_count, uint8_t *bytes, size_t count);
