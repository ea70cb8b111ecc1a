// What Swift's Glibc module does not offer of the kernel's interfaces. Every function returns a negative errno on failure.
// <linux/if.h> stays out of this header: it clashes with the `ifreq` of the Glibc module.
#pragma once

#include <stddef.h>
#include <stdint.h>

// ---- clocks.c: CLOCK_BOOTTIME and CLOCK_REALTIME in nanoseconds, read next to each other.
void fabric_clock_read(int64_t *boottime, int64_t *realtime);

// ---- events.c
int fabric_epoll_create(void);
// Level-triggered read readiness; `token` comes back from fabric_epoll_wait.
int fabric_epoll_add(int epoll, int descriptor, uint64_t token);
int fabric_epoll_remove(int epoll, int descriptor);
// Waits for at most 64 events; EINTR counts as no event. A timeout of -1 waits for ever.
int fabric_epoll_wait(int epoll, uint64_t *tokens, int capacity, int timeout_milliseconds);
int fabric_eventfd_create(void);
int fabric_eventfd_signal(int descriptor);
int fabric_eventfd_drain(int descriptor);
// A timer on CLOCK_BOOTTIME; `instant` is absolute, 0 disarms.
int fabric_timerfd_create(void);
int fabric_timerfd_set(int descriptor, int64_t instant);
int fabric_timerfd_drain(int descriptor);
// From now on `signal_number` is written as one byte to `descriptor`. Process-wide: the last call for a signal holds.
int fabric_signal_to_descriptor(int signal_number, int descriptor);
int fabric_signal_restore(int signal_number);

// A close-on-exec pipe: ends[0] reads, ends[1] writes.
int fabric_pipe(int *ends, int nonblocking);

// ---- udp.c
typedef struct {
    uint8_t address[16]; // 4 or 16 bytes in network order
    uint16_t port;
    uint8_t family; // 4 or 6
    uint8_t truncated; // the datagram did not fit and was cut (receive only)
} fabric_endpoint;

typedef struct {
    void *base;
    size_t length; // room before a receive, size after it and for a send
    // Bytes of each datagram but the last, where several stand one behind the other (UDP_GRO, UDP_SEGMENT); else 0.
    uint32_t segment;
    uint8_t ecn; // the low two bits of the IP header's type of service or traffic class
    fabric_endpoint endpoint;
} fabric_datagram;

#define FABRIC_UDP_BATCH 64

// family 4: IPv4. family 6: IPv6, which carries IPv4 too (as mapped addresses, translated here) when `dual` is set.
int fabric_udp_open(const fabric_endpoint *local, int dual, int buffer_bytes);
int fabric_udp_local(int descriptor, fabric_endpoint *local);
// Number of datagrams moved, or -EAGAIN when none.
int fabric_udp_receive(int descriptor, fabric_datagram *datagrams, unsigned count);
int fabric_udp_send(int descriptor, int socket_family, const fabric_datagram *datagrams, unsigned count);

// The largest IP packet that the kernel knows to pass from `local` (any, when its address is zero) to an endpoint.
int fabric_udp_path_mtu(const fabric_endpoint *local, const fabric_endpoint *remote);

// Datagrams that the kernel dropped on their way to the socket, since Linux 4.12.
int64_t fabric_udp_drops(int descriptor);

// Lets a receive give several datagrams as one, with `segment` set; each needs room for 65,535 bytes.
int fabric_udp_join_received(int descriptor);
// 0 where the kernel splits what is sent with `segment` set.
int fabric_udp_can_segment(int descriptor);

// ---- tun.c
#define FABRIC_INTERFACE_NAME 16
#define FABRIC_TUN_HEADER 1 // a virtio header stands before each packet
#define FABRIC_TUN_CHECKSUM 2 // packets come with checksums to be completed
#define FABRIC_TUN_TCP 4 // super-packets of TCP, over IPv4 and IPv6
#define FABRIC_TUN_UDP 8 // and of UDP
// Opens a TUN device (no packet information) named by `pattern` ("rap%d"); `name` has room for FABRIC_INTERFACE_NAME.
// `offloads` holds what is wanted, and afterwards what the kernel has of it.
int fabric_tun_open(const char *pattern, char *name, int *interface_index, int *offloads);

// ---- netlink.c: rtnetlink in the calling thread's network namespace. Family is 4 or 6; addresses in network order.
int fabric_link_set_mtu(int interface_index, uint32_t mtu);
int fabric_link_set_up(int interface_index, int up);
// No automatic link-local address: the kernel then sends no router solicitations into the device.
int fabric_link_disable_autoconfiguration(int interface_index);
int fabric_address_change(int add, int interface_index, int family, const uint8_t *address, int prefix_length);
int fabric_route_change(int add, int interface_index, int family, const uint8_t *destination, int prefix_length);

// Packets that the kernel dropped on their way to the device's reader, its queue being full; as a number of 32 bits.
int64_t fabric_link_transmit_drops(const char *name);

// A socket that hears of changes to links, addresses and routes; it does not block.
int fabric_route_watch(void);
#define FABRIC_ROUTE_LINK 0
#define FABRIC_ROUTE_ADDRESSES 1
#define FABRIC_ROUTE_ROUTES_V4 2
#define FABRIC_ROUTE_ROUTES_V6 3
// Asks for one link, or for its addresses or routes (older kernels answer with everybody's), and returns a blocking socket.
int fabric_route_ask(int question, int interface_index);
// One datagram of netlink messages and its length. -EAGAIN: none; -ENOBUFS: some were lost; -EMSGSIZE: it did not fit.
int64_t fabric_route_receive(int descriptor, void *buffer, size_t capacity);

// ---- namespace.c: moves the calling thread (and no other) into a network namespace.
int fabric_enter_network_namespace(const char *path);
