#define _GNU_SOURCE
#include "CFabricLinux.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// Since Linux 4.18 and 5.0; older headers lack them.
#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

// Room for the one control message that goes with a datagram.
typedef union {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
} control_space;

// Writes `endpoint` as the socket's family wants it; 0 when the family can't carry it.
static socklen_t to_sockaddr(const fabric_endpoint *endpoint, int socket_family, struct sockaddr_storage *storage) {
    if (socket_family == 4) {
        if (endpoint->family != 4) return 0;
        struct sockaddr_in *v4 = (struct sockaddr_in *)storage;
        memset(v4, 0, sizeof *v4);
        v4->sin_family = AF_INET;
        v4->sin_port = htons(endpoint->port);
        memcpy(&v4->sin_addr, endpoint->address, 4);
        return sizeof *v4;
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)storage;
    memset(v6, 0, sizeof *v6);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(endpoint->port);
    if (endpoint->family == 4) {
        v6->sin6_addr.s6_addr[10] = v6->sin6_addr.s6_addr[11] = 0xFF;
        memcpy(v6->sin6_addr.s6_addr + 12, endpoint->address, 4);
    } else {
        memcpy(v6->sin6_addr.s6_addr, endpoint->address, 16);
    }
    return sizeof *v6;
}

static void from_sockaddr(const struct sockaddr_storage *storage, fabric_endpoint *endpoint) {
    memset(endpoint, 0, sizeof *endpoint);
    if (storage->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)storage;
        endpoint->family = 4;
        endpoint->port = ntohs(v4->sin_port);
        memcpy(endpoint->address, &v4->sin_addr, 4);
        return;
    }
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)storage;
    endpoint->port = ntohs(v6->sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        endpoint->family = 4;
        memcpy(endpoint->address, v6->sin6_addr.s6_addr + 12, 4);
    } else {
        endpoint->family = 6;
        memcpy(endpoint->address, v6->sin6_addr.s6_addr, 16);
    }
}

int fabric_udp_open(const fabric_endpoint *local, int dual, int buffer_bytes) {
    int domain = local->family == 4 ? AF_INET : AF_INET6;
    int descriptor = socket(domain, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return -errno;
    int only = !dual;
    struct sockaddr_storage storage;
    socklen_t length = to_sockaddr(local, local->family, &storage);
    // Smaller buffers than wished for are no failure: the FORCE form needs CAP_NET_ADMIN, the other is clamped.
    if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof buffer_bytes) < 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof buffer_bytes);
    if (setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &buffer_bytes, sizeof buffer_bytes) < 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof buffer_bytes);
    if ((domain == AF_INET6 && setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only) < 0)
        || bind(descriptor, (struct sockaddr *)&storage, length) < 0) {
        int code = -errno;
        close(descriptor);
        return code;
    }
    return descriptor;
}

int fabric_udp_local(int descriptor, fabric_endpoint *local) {
    struct sockaddr_storage storage;
    socklen_t length = sizeof storage;
    if (getsockname(descriptor, (struct sockaddr *)&storage, &length) < 0) return -errno;
    from_sockaddr(&storage, local);
    return 0;
}

int fabric_udp_receive(int descriptor, fabric_datagram *datagrams, unsigned count) {
    struct mmsghdr messages[FABRIC_UDP_BATCH];
    struct iovec vectors[FABRIC_UDP_BATCH];
    struct sockaddr_storage sources[FABRIC_UDP_BATCH];
    control_space controls[FABRIC_UDP_BATCH];
    if (count > FABRIC_UDP_BATCH) count = FABRIC_UDP_BATCH;
    memset(messages, 0, sizeof messages[0] * count);
    for (unsigned i = 0; i < count; i++) {
        vectors[i] = (struct iovec){datagrams[i].base, datagrams[i].length};
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_name = &sources[i];
        messages[i].msg_hdr.msg_namelen = sizeof sources[i];
        messages[i].msg_hdr.msg_control = &controls[i];
        messages[i].msg_hdr.msg_controllen = sizeof controls[i];
    }
    int received = recvmmsg(descriptor, messages, count, MSG_DONTWAIT, NULL);
    if (received < 0) return -errno;
    for (int i = 0; i < received; i++) {
        from_sockaddr(&sources[i], &datagrams[i].endpoint);
        datagrams[i].length = messages[i].msg_len;
        datagrams[i].endpoint.truncated = (messages[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
        datagrams[i].segment = 0;
        struct cmsghdr *control = CMSG_FIRSTHDR(&messages[i].msg_hdr);
        if (control && control->cmsg_level == SOL_UDP && control->cmsg_type == UDP_GRO) {
            int segment;
            memcpy(&segment, CMSG_DATA(control), sizeof segment);
            if (segment > 0) datagrams[i].segment = (uint32_t)segment;
        }
    }
    return received;
}

int fabric_udp_send(int descriptor, int socket_family, const fabric_datagram *datagrams, unsigned count) {
    struct mmsghdr messages[FABRIC_UDP_BATCH];
    struct iovec vectors[FABRIC_UDP_BATCH];
    struct sockaddr_storage destinations[FABRIC_UDP_BATCH];
    control_space controls[FABRIC_UDP_BATCH];
    if (count > FABRIC_UDP_BATCH) count = FABRIC_UDP_BATCH;
    memset(messages, 0, sizeof messages[0] * count);
    for (unsigned i = 0; i < count; i++) {
        socklen_t length = to_sockaddr(&datagrams[i].endpoint, socket_family, &destinations[i]);
        if (length == 0) {
            if (i == 0) return -EAFNOSUPPORT;
            count = i;
            break;
        }
        vectors[i] = (struct iovec){datagrams[i].base, datagrams[i].length};
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_name = &destinations[i];
        messages[i].msg_hdr.msg_namelen = length;
        if (datagrams[i].segment > 0 && datagrams[i].segment < datagrams[i].length) {
            uint16_t segment = (uint16_t)datagrams[i].segment;
            memset(&controls[i], 0, sizeof controls[i]);
            controls[i].header.cmsg_level = SOL_UDP;
            controls[i].header.cmsg_type = UDP_SEGMENT;
            controls[i].header.cmsg_len = CMSG_LEN(sizeof segment);
            memcpy(CMSG_DATA(&controls[i].header), &segment, sizeof segment);
            messages[i].msg_hdr.msg_control = &controls[i];
            messages[i].msg_hdr.msg_controllen = CMSG_SPACE(sizeof segment);
        }
    }
    int sent = sendmmsg(descriptor, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

int64_t fabric_udp_drops(int descriptor) {
    // The last of the values of <linux/sock_diag.h>, SK_MEMINFO_VARS of them.
    uint32_t values[9] = {0};
    socklen_t length = sizeof values;
    if (getsockopt(descriptor, SOL_SOCKET, SO_MEMINFO, values, &length) < 0) return -errno;
    return length == sizeof values ? values[8] : 0;
}

int fabric_udp_join_received(int descriptor) {
    int on = 1;
    return setsockopt(descriptor, SOL_UDP, UDP_GRO, &on, sizeof on) < 0 ? -errno : 0;
}

int fabric_udp_can_segment(int descriptor) {
    int size = 0;
    return setsockopt(descriptor, SOL_UDP, UDP_SEGMENT, &size, sizeof size) < 0 ? -errno : 0;
}
