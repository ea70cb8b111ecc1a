#include "CFabricLinux.h"
#include <time.h>

static int64_t read_clock(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void fabric_clock_read(int64_t *boottime, int64_t *realtime) {
    *boottime = read_clock(CLOCK_BOOTTIME);
    *realtime = read_clock(CLOCK_REALTIME);
}
