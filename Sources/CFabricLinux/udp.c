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

// Room for the control messages that go with a datagram: its segments' size and its mark.
typedef union {
    struct cmsghdr header;
    char room[2 * CMSG_SPACE(sizeof(int))];
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
    int only = !dual, on = 1;
    struct sockaddr_storage storage;
    socklen_t length = to_sockaddr(local, local->family, &storage);
    // Smaller buffers than wished for are no failure: the FORCE form needs CAP_NET_ADMIN, the other is clamped.
    if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof buffer_bytes) < 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof buffer_bytes);
    if (setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &buffer_bytes, sizeof buffer_bytes) < 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof buffer_bytes);
    // Where marks aren't told, datagrams count as unmarked. A socket of both families is told of each in its own way.
    if (domain == AF_INET || dual) setsockopt(descriptor, IPPROTO_IP, IP_RECVTOS, &on, sizeof on);
    if (domain == AF_INET6) setsockopt(descriptor, IPPROTO_IPV6, IPV6_RECVTCLASS, &on, sizeof on);
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

static void take_control(const struct cmsghdr *control, fabric_datagram *datagram) {
    int value = 0;
    if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_TOS) {
        // One byte, unlike the others.
        datagram->ecn = *(const uint8_t *)CMSG_DATA(control) & 3;
        return;
    }
    if (control->cmsg_len < CMSG_LEN(sizeof value)) return;
    memcpy(&value, CMSG_DATA(control), sizeof value);
    if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_TCLASS) datagram->ecn = (uint8_t)(value & 3);
    if (control->cmsg_level == SOL_UDP && control->cmsg_type == UDP_GRO && value > 0)
        datagram->segment = (uint32_t)value;
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
        datagrams[i].ecn = 0;
        struct msghdr *message = &messages[i].msg_hdr;
        for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control; control = CMSG_NXTHDR(message, control))
            take_control(control, &datagrams[i]);
    }
    return received;
}

static void put_control(struct msghdr *message, int level, int type, const void *value, size_t size) {
    struct cmsghdr *control = (struct cmsghdr *)((char *)message->msg_control + message->msg_controllen);
    control->cmsg_level = level;
    control->cmsg_type = type;
    control->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(control), value, size);
    message->msg_controllen += CMSG_SPACE(size);
}

// Most datagrams need none.
static void put_controls(struct msghdr *message, control_space *space, const fabric_datagram *datagram) {
    int is_run = datagram->segment > 0 && datagram->segment < datagram->length;
    if (!is_run && datagram->ecn == 0) return;
    memset(space, 0, sizeof *space);
    message->msg_control = space;
    if (is_run) {
        uint16_t segment = (uint16_t)datagram->segment;
        put_control(message, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment);
    }
    if (datagram->ecn != 0) {
        int mark = datagram->ecn & 3;
        // What leaves a socket of both families as IPv4 is marked as IPv4.
        if (datagram->endpoint.family == 4) put_control(message, IPPROTO_IP, IP_TOS, &mark, sizeof mark);
        else put_control(message, IPPROTO_IPV6, IPV6_TCLASS, &mark, sizeof mark);
    }
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
        put_controls(&messages[i].msg_hdr, &controls[i], &datagrams[i]);
    }
    int sent = sendmmsg(descriptor, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

int fabric_udp_path_mtu(const fabric_endpoint *local, const fabric_endpoint *remote) {
    static const uint8_t any[16];
    int is_v4 = remote->family == 4;
    int descriptor = socket(is_v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -errno;
    int mtu = 0, result = 0;
    struct sockaddr_storage address;
    socklen_t length;
    if (local->family == remote->family && memcmp(local->address, any, is_v4 ? 4 : 16) != 0) {
        fabric_endpoint source = *local;
        source.port = 0;
        length = to_sockaddr(&source, source.family, &address);
        if (bind(descriptor, (struct sockaddr *)&address, length) < 0) result = -errno;
    }
    length = to_sockaddr(remote, remote->family, &address);
    socklen_t size = sizeof mtu;
    // Connecting sends nothing: it looks up the route, with what routers have told of it.
    if (result == 0
        && (connect(descriptor, (struct sockaddr *)&address, length) < 0
            || getsockopt(descriptor, is_v4 ? IPPROTO_IP : IPPROTO_IPV6, is_v4 ? IP_MTU : IPV6_MTU, &mtu, &size) < 0))
        result = -errno;
    close(descriptor);
    return result < 0 ? result : mtu;
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
