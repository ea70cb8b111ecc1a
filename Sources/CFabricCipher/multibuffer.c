#include "CFabricCipher.h"

#if defined(__x86_64__)

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

// The binary interface of version 1.3, as intel-ipsec-mb.h of that version has it. Its layout may change with the minor version,
// so no other is used.
#define KNOWN_VERSION 0x10300
#define GET_NEXT_JOB 64 // of the manager: job *(*)(manager *)
#define SUBMIT_JOB 72 // of the manager: job *(*)(manager *)

typedef struct {
    const void *encryption_keys;
    const void *decryption_keys;
    uint64_t key_length;
    const uint8_t *source;
    uint8_t *destination;
    uint64_t cipher_offset;
    uint64_t cipher_length;
    uint64_t hash_offset;
    uint64_t hash_length;
    const uint8_t *iv;
    uint64_t iv_length;
    uint8_t *tag;
    uint64_t tag_length;
    const void *additional;
    uint64_t additional_length;
    void *context;
    uint32_t status;
    uint32_t cipher_mode;
    uint32_t direction;
    uint32_t hash_algorithm;
    uint32_t chain_order;
} job;

enum { CIPHER = 19, HASH = 29, ENCRYPT = 1, DECRYPT = 2, CIPHER_FIRST = 1, HASH_FIRST = 2, COMPLETED = 3 };

struct fabric_multibuffer {
    void *handle;
    void *manager;
    void (*free_manager)(void *);
    job *(*get_next)(void *);
    job *(*submit)(void *);
};

fabric_multibuffer *fabric_multibuffer_create(void) {
    void *handle = dlopen("libIPSec_MB.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!handle) return NULL;
    unsigned (*version)(void) = (unsigned (*)(void))dlsym(handle, "imb_get_version");
    void *(*allocate)(uint64_t) = (void *(*)(uint64_t))dlsym(handle, "alloc_mb_mgr");
    void (*release)(void *) = (void (*)(void *))dlsym(handle, "free_mb_mgr");
    void (*initialise)(void *, int *) = (void (*)(void *, int *))dlsym(handle, "init_mb_mgr_auto");
    fabric_multibuffer *library = NULL;
    void *manager = NULL;
    if (!version || !allocate || !release || !initialise || version() != KNOWN_VERSION) goto failed;
    manager = allocate(0);
    library = malloc(sizeof *library);
    if (!manager || !library) goto failed;
    initialise(manager, NULL);
    *library = (fabric_multibuffer){.handle = handle, .manager = manager, .free_manager = release};
    memcpy(&library->get_next, (char *)manager + GET_NEXT_JOB, sizeof library->get_next);
    memcpy(&library->submit, (char *)manager + SUBMIT_JOB, sizeof library->submit);
    if (!library->get_next || !library->submit) goto failed;
    return library;
failed:
    free(library);
    if (manager) release(manager);
    dlclose(handle);
    return NULL;
}

void fabric_multibuffer_destroy(fabric_multibuffer *library) {
    library->free_manager(library->manager);
    dlclose(library->handle);
    free(library);
}

static int run(
    fabric_multibuffer *library, int direction, const uint8_t *key, const uint8_t *nonce, const uint8_t *additional,
    size_t additional_count, uint8_t *bytes, size_t count, uint8_t *tag) {
    job *work = library->get_next(library->manager);
    memset(work, 0, sizeof *work);
    work->encryption_keys = work->decryption_keys = key;
    work->key_length = 32;
    work->source = work->destination = bytes;
    work->cipher_length = work->hash_length = count;
    work->iv = nonce;
    work->iv_length = 12;
    work->tag = tag;
    work->tag_length = 16;
    work->additional = additional;
    work->additional_length = additional_count;
    work->cipher_mode = CIPHER;
    work->direction = (uint32_t)direction;
    work->hash_algorithm = HASH;
    work->chain_order = direction == ENCRYPT ? CIPHER_FIRST : HASH_FIRST;
    // This cipher is never queued: the job comes back done.
    job *done = library->submit(library->manager);
    return done == work && done->status == COMPLETED ? 0 : -1;
}

int fabric_multibuffer_seal(
    fabric_multibuffer *library, const uint8_t *key, const uint8_t *nonce, const uint8_t *additional,
    size_t additional_count, uint8_t *bytes, size_t count) {
    return run(library, ENCRYPT, key, nonce, additional, additional_count, bytes, count, bytes + count);
}

int fabric_multibuffer_open(
    fabric_multibuffer *library, const uint8_t *key, const uint8_t *nonce, const uint8_t *additional,
    size_t additional_count, uint8_t *bytes, size_t count) {
    uint8_t tag[16];
    if (run(library, DECRYPT, key, nonce, additional, additional_count, bytes, count, tag) < 0) return -1;
    // In constant time.
    uint8_t difference = 0;
    for (int i = 0; i < 16; i++) difference |= tag[i] ^ bytes[count + i];
    return difference == 0 ? 0 : -1;
}

#else

fabric_multibuffer *fabric_multibuffer_create(void) { return NULL; }
void fabric_multibuffer_destroy(fabric_multibuffer *library) { (void)library; }

int fabric_multibuffer_seal(
    fabric_multibuffer *library, const uint8_t *key, const uint8_t *nonce, const uint8_t *additional,
    size_t additional_count, uint8_t *bytes, size_t count) {
    (void)library, (void)key, (void)nonce, (void)additional, (void)additional_count, (void)bytes, (void)count;
    return -1;
}

int fabric_multibuffer_open(
    fabric_multibuffer *library, const uint8_t *key, const uint8_t *nonce, const uint8_t *additional,
    size_t additional_count, uint8_t *bytes, size_t count) {
    return fabric_multibuffer_seal(library, key, nonce, additional, additional_count, bytes, count);
}

#endif
