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

// Since Linux 6.2; older headers lack them.
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

// Switches on as much of `wanted` as the kernel has.
static int switch_on(int descriptor, int wanted) {
    if (!(wanted & FABRIC_TUN_CHECKSUM)) return 0;
    unsigned tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    if (wanted & FABRIC_TUN_TCP) {
        if ((wanted & FABRIC_TUN_UDP) && ioctl(descriptor, TUNSETOFFLOAD, tcp | TUN_F_USO4 | TUN_F_USO6) == 0)
            return FABRIC_TUN_CHECKSUM | FABRIC_TUN_TCP | FABRIC_TUN_UDP;
        if (ioctl(descriptor, TUNSETOFFLOAD, tcp) == 0) return FABRIC_TUN_CHECKSUM | FABRIC_TUN_TCP;
    }
    return ioctl(descriptor, TUNSETOFFLOAD, TUN_F_CSUM) == 0 ? FABRIC_TUN_CHECKSUM : 0;
}

int fabric_tun_open(const char *pattern, char *name, int *interface_index, int *offloads) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (strlen(pattern) >= IFNAMSIZ) return -ENAMETOOLONG;
    int descriptor = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) return -errno;
    strcpy(request.ifr_name, pattern);
    int wanted = *offloads;
    int control = -1;
    request.ifr_flags = IFF_TUN | IFF_NO_PI | (wanted & FABRIC_TUN_HEADER ? IFF_VNET_HDR : 0);
    if (ioctl(descriptor, TUNSETIFF, &request) < 0) {
        // Without the header there is no offload, but there is a device.
        if (!(wanted & FABRIC_TUN_HEADER) || errno != EINVAL) goto failed;
        wanted = 0;
        request.ifr_flags = IFF_TUN | IFF_NO_PI;
        if (ioctl(descriptor, TUNSETIFF, &request) < 0) goto failed;
    }
    *offloads = wanted & FABRIC_TUN_HEADER ? FABRIC_TUN_HEADER | switch_on(descriptor, wanted) : 0;
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
