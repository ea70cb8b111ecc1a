// Counts allocations, in either of two ways:
//
//  linked into a test program      its functions stand before the C library's in all libraries of the process, since a
//                                  program's own symbols are found first; a test subtracts two counts of its thread
//  preloaded into another program  clang -shared -fPIC -o count.so allocations.c; LD_PRELOAD=./count.so. With
//                                  RAP_ALLOCATIONS=DIRECTORY the count of all threads stands in the file DIRECTORY/PID, 8
//                                  bytes in the machine's order, and can be read at any time
//
// The functions pass on to glibc's own names for what they replace. So nothing is looked up while the program starts, and
// what glibc itself allocates goes the same way. free is glibc's: memory always comes from it.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "include/CFabricAllocations.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

// Reached without allocating, also while a thread begins.
static __thread uint64_t of_thread __attribute__((tls_model("initial-exec")));
static uint64_t *of_process;

static inline void count(void) {
    of_thread += 1;
    if (of_process) __atomic_fetch_add(of_process, 1, __ATOMIC_RELAXED);
}

uint64_t fabric_allocations(void) { return of_thread; }

void *malloc(size_t size) {
    count();
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    count();
    return __libc_calloc(number, size);
}

void *realloc(void *memory, size_t size) {
    count();
    return __libc_realloc(memory, size);
}

void *memalign(size_t alignment, size_t size) {
    count();
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **memory, size_t alignment, size_t size) {
    if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0) return EINVAL;
    void *made = memalign(alignment, size);
    if (!made) return ENOMEM;
    *memory = made;
    return 0;
}

__attribute__((constructor)) static void open_count(void) {
    const char *directory = getenv("RAP_ALLOCATIONS");
    if (!directory) return;
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%d", directory, (int)getpid()) >= (int)sizeof path) return;
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) return;
    if (ftruncate(file, sizeof *of_process) == 0) {
        void *shared = mmap(NULL, sizeof *of_process, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (shared != MAP_FAILED) of_process = shared;
    }
    close(file);
}
