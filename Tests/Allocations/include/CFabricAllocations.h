#pragma once
#include <stdint.h>

/// Allocations that the calling thread has made so far: calls of malloc, calloc, realloc, aligned_alloc, memalign and
/// posix_memalign, in whatever library. Two calls and a subtraction count what happens between them.
uint64_t fabric_allocations(void);
