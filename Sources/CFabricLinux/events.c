#define _GNU_SOURCE
#include "CFabricLinux.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define RESULT(expression) ({ int result_ = (int)(expression); result_ < 0 ? -errno : result_; })

int fabric_epoll_create(void) { return RESULT(epoll_create1(EPOLL_CLOEXEC)); }

int fabric_epoll_add(int epoll, int descriptor, uint64_t token) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = token};
    return RESULT(epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event));
}

int fabric_epoll_remove(int epoll, int descriptor) { return RESULT(epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, NULL)); }

int fabric_epoll_wait(int epoll, uint64_t *tokens, int capacity, int timeout_milliseconds) {
    struct epoll_event events[64];
    int count = epoll_wait(epoll, events, capacity < 64 ? capacity : 64, timeout_milliseconds);
    if (count < 0) return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < count; i++) tokens[i] = events[i].data.u64;
    return count;
}

int fabric_eventfd_create(void) { return RESULT(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

int fabric_eventfd_signal(int descriptor) {
    uint64_t one = 1;
    // EAGAIN means that the counter is at its maximum: the reader is awake as it is.
    return write(descriptor, &one, sizeof one) < 0 && errno != EAGAIN ? -errno : 0;
}

static int drain(int descriptor) {
    uint64_t value;
    return read(descriptor, &value, sizeof value) < 0 && errno != EAGAIN ? -errno : 0;
}

int fabric_eventfd_drain(int descriptor) { return drain(descriptor); }

int fabric_timerfd_create(void) { return RESULT(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK)); }

int fabric_timerfd_set(int descriptor, int64_t instant) {
    struct itimerspec spec = {
        .it_value = {.tv_sec = instant / 1000000000, .tv_nsec = instant % 1000000000},
    };
    return RESULT(timerfd_settime(descriptor, TFD_TIMER_ABSTIME, &spec, NULL));
}

int fabric_timerfd_drain(int descriptor) { return drain(descriptor); }

// Written by the handler, which may run on any thread: one lock-free atomic each. 0 stands for none (descriptor + 1).
static atomic_int signal_descriptors[65];

static void forward_signal(int number) {
    int saved = errno;
    int descriptor = atomic_load(&signal_descriptors[number]) - 1;
    if (descriptor >= 0) {
        unsigned char byte = (unsigned char)number;
        // A full pipe already holds a wake-up; nothing better can be done here.
        ssize_t ignored = write(descriptor, &byte, 1);
        (void)ignored;
    }
    errno = saved;
}

int fabric_signal_to_descriptor(int signal_number, int descriptor) {
    if (signal_number < 1 || signal_number > 64) return -EINVAL;
    atomic_store(&signal_descriptors[signal_number], descriptor + 1);
    struct sigaction action = {.sa_handler = forward_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    return RESULT(sigaction(signal_number, &action, NULL));
}

int fabric_signal_restore(int signal_number) {
    if (signal_number < 1 || signal_number > 64) return -EINVAL;
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigemptyset(&action.sa_mask);
    int result = RESULT(sigaction(signal_number, &action, NULL));
    atomic_store(&signal_descriptors[signal_number], 0);
    return result;
}

int fabric_pipe(int *ends, int nonblocking) { return RESULT(pipe2(ends, O_CLOEXEC | (nonblocking ? O_NONBLOCK : 0))); }
