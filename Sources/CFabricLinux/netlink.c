#define _GNU_SOURCE
#include "CFabricLinux.h"
#include <errno.h>
#include <ifaddrs.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// One request with one answer; every message that is built here fits with room to spare.
struct request {
    struct nlmsghdr header;
    char body[256];
};

static void *extend(struct request *request, size_t length) {
    void *place = (char *)request + NLMSG_ALIGN(request->header.nlmsg_len);
    request->header.nlmsg_len = (uint32_t)(NLMSG_ALIGN(request->header.nlmsg_len) + length);
    return place;
}

static struct rtattr *attribute(struct request *request, unsigned short type, const void *data, size_t length) {
    struct rtattr *attribute = extend(request, RTA_LENGTH(length));
    attribute->rta_type = type;
    attribute->rta_len = (unsigned short)RTA_LENGTH(length);
    if (length > 0) memcpy(RTA_DATA(attribute), data, length);
    return attribute;
}

static void finish_nested(struct request *request, struct rtattr *outer) {
    outer->rta_len = (unsigned short)((char *)request + request->header.nlmsg_len - (char *)outer);
}

static int transact(struct request *request) {
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (descriptor < 0) return -errno;
    request->header.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
    request->header.nlmsg_seq = 1;
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    int code = 0;
    if (sendto(descriptor, request, request->header.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0) {
        code = -errno;
    } else {
        _Alignas(struct nlmsghdr) char answer[4096];
        ssize_t length;
        do length = recv(descriptor, answer, sizeof answer, 0);
        while (length < 0 && errno == EINTR);
        const struct nlmsghdr *header = (const struct nlmsghdr *)answer;
        if (length < 0) code = -errno;
        else if (!NLMSG_OK(header, (unsigned)length) || header->nlmsg_type != NLMSG_ERROR) code = -EPROTO;
        else code = ((const struct nlmsgerr *)NLMSG_DATA(header))->error;
    }
    close(descriptor);
    return code;
}

static void begin_link(struct request *request, int interface_index, unsigned flags, unsigned change) {
    memset(request, 0, sizeof *request);
    request->header.nlmsg_len = NLMSG_LENGTH(0);
    request->header.nlmsg_type = RTM_NEWLINK;
    struct ifinfomsg *info = extend(request, sizeof *info);
    info->ifi_family = AF_UNSPEC;
    info->ifi_index = interface_index;
    info->ifi_flags = flags;
    info->ifi_change = change;
}

int fabric_link_set_mtu(int interface_index, uint32_t mtu) {
    struct request request;
    begin_link(&request, interface_index, 0, 0);
    attribute(&request, IFLA_MTU, &mtu, sizeof mtu);
    return transact(&request);
}

int fabric_link_set_up(int interface_index, int up) {
    struct request request;
    begin_link(&request, interface_index, up ? IFF_UP : 0, IFF_UP);
    return transact(&request);
}

int fabric_link_disable_autoconfiguration(int interface_index) {
    struct request request;
    uint8_t none = IN6_ADDR_GEN_MODE_NONE;
    begin_link(&request, interface_index, 0, 0);
    struct rtattr *specific = attribute(&request, IFLA_AF_SPEC, NULL, 0);
    struct rtattr *v6 = attribute(&request, AF_INET6, NULL, 0);
    attribute(&request, IFLA_INET6_ADDR_GEN_MODE, &none, sizeof none);
    finish_nested(&request, v6);
    finish_nested(&request, specific);
    return transact(&request);
}

int fabric_address_change(int add, int interface_index, int family, const uint8_t *address, int prefix_length) {
    struct request request;
    size_t size = family == 4 ? 4 : 16;
    memset(&request, 0, sizeof request);
    request.header.nlmsg_len = NLMSG_LENGTH(0);
    request.header.nlmsg_type = add ? RTM_NEWADDR : RTM_DELADDR;
    request.header.nlmsg_flags = add ? NLM_F_CREATE | NLM_F_EXCL : 0;
    struct ifaddrmsg *info = extend(&request, sizeof *info);
    info->ifa_family = family == 4 ? AF_INET : AF_INET6;
    info->ifa_prefixlen = (unsigned char)prefix_length;
    info->ifa_flags = family == 6 ? IFA_F_NODAD : 0;
    info->ifa_scope = RT_SCOPE_UNIVERSE;
    info->ifa_index = (unsigned)interface_index;
    attribute(&request, IFA_LOCAL, address, size);
    attribute(&request, IFA_ADDRESS, address, size);
    return transact(&request);
}

int fabric_route_change(int add, int interface_index, int family, const uint8_t *destination, int prefix_length) {
    struct request request;
    memset(&request, 0, sizeof request);
    request.header.nlmsg_len = NLMSG_LENGTH(0);
    request.header.nlmsg_type = add ? RTM_NEWROUTE : RTM_DELROUTE;
    request.header.nlmsg_flags = add ? NLM_F_CREATE | NLM_F_EXCL : 0;
    struct rtmsg *info = extend(&request, sizeof *info);
    info->rtm_family = family == 4 ? AF_INET : AF_INET6;
    info->rtm_dst_len = (unsigned char)prefix_length;
    info->rtm_table = RT_TABLE_MAIN;
    info->rtm_protocol = RTPROT_STATIC;
    info->rtm_scope = RT_SCOPE_LINK;
    info->rtm_type = RTN_UNICAST;
    if (prefix_length > 0) attribute(&request, RTA_DST, destination, family == 4 ? 4 : 16);
    attribute(&request, RTA_OIF, &interface_index, sizeof interface_index);
    return transact(&request);
}

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

int fabric_route_watch(void) {
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (descriptor < 0) return -errno;
    struct sockaddr_nl address = {
        .nl_family = AF_NETLINK,
        .nl_groups =
            RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE,
    };
    if (bind(descriptor, (struct sockaddr *)&address, sizeof address) < 0) {
        int code = -errno;
        close(descriptor);
        return code;
    }
    return descriptor;
}

int fabric_route_ask(int question, int interface_index) {
    struct request request;
    memset(&request, 0, sizeof request);
    request.header.nlmsg_len = NLMSG_LENGTH(0);
    request.header.nlmsg_flags = NLM_F_REQUEST | (question == FABRIC_ROUTE_LINK ? 0 : NLM_F_DUMP);
    request.header.nlmsg_seq = 1;
    if (question == FABRIC_ROUTE_LINK) {
        request.header.nlmsg_type = RTM_GETLINK;
        struct ifinfomsg *info = extend(&request, sizeof *info);
        info->ifi_index = interface_index;
    } else if (question == FABRIC_ROUTE_ADDRESSES) {
        request.header.nlmsg_type = RTM_GETADDR;
        struct ifaddrmsg *info = extend(&request, sizeof *info);
        info->ifa_index = (unsigned)interface_index;
    } else {
        request.header.nlmsg_type = RTM_GETROUTE;
        struct rtmsg *info = extend(&request, sizeof *info);
        info->rtm_family = question == FABRIC_ROUTE_ROUTES_V4 ? AF_INET : AF_INET6;
        attribute(&request, RTA_OIF, &interface_index, sizeof interface_index);
    }
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (descriptor < 0) return -errno;
    int strict = 1;
    // Since Linux 4.20 the kernel selects by the interface; before, it answers with all.
    setsockopt(descriptor, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &strict, sizeof strict);
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (sendto(descriptor, &request, request.header.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0) {
        int code = -errno;
        close(descriptor);
        return code;
    }
    return descriptor;
}

int64_t fabric_route_receive(int descriptor, void *buffer, size_t capacity) {
    for (;;) {
        struct sockaddr_nl sender;
        socklen_t length = sizeof sender;
        ssize_t count =
            recvfrom(descriptor, buffer, capacity, MSG_TRUNC, (struct sockaddr *)&sender, &length);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return -errno;
        // The kernel alone is believed.
        if (length < sizeof sender || sender.nl_pid != 0) continue;
        return (size_t)count > capacity ? -EMSGSIZE : count;
    }
}

int64_t fabric_link_transmit_drops(const char *name) {
    struct ifaddrs *all;
    if (getifaddrs(&all) < 0) return -errno;
    int64_t drops = -ENODEV;
    for (struct ifaddrs *one = all; one; one = one->ifa_next) {
        // The entry of the link itself has its counters.
        if (!one->ifa_addr || one->ifa_addr->sa_family != AF_PACKET || !one->ifa_data || strcmp(one->ifa_name, name) != 0)
            continue;
        struct rtnl_link_stats stats;
        memcpy(&stats, one->ifa_data, sizeof stats);
        drops = stats.tx_dropped;
    }
    freeifaddrs(all);
    return drops;
}
