#define _GNU_SOURCE
#include "CFabricLinux.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

int fabric_enter_network_namespace(const char *path) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return -errno;
    int code = setns(descriptor, CLONE_NEWNET) < 0 ? -errno : 0;
    close(descriptor);
    return code;
}
