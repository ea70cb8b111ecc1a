#define _GNU_SOURCE
#include "CFabricLinux.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

int fabric_tun_open(const char *pattern, char *name, int *interface_index) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (strlen(pattern) >= IFNAMSIZ) return -ENAMETOOLONG;
    int descriptor = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) return -errno;
    strcpy(request.ifr_name, pattern);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    int control = -1;
    if (ioctl(descriptor, TUNSETIFF, &request) < 0) goto failed;
    memcpy(name, request.ifr_name, IFNAMSIZ);
    control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (control < 0 || ioctl(control, SIOCGIFINDEX, &request) < 0) goto failed;
    *interface_index = request.ifr_ifindex;
    close(control);
    return descriptor;
failed:;
    int code = -errno;
    if (control >= 0) close(control);
    close(descriptor);
    return code;
}
