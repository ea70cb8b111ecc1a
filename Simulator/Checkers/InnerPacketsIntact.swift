internal import FabricCore

/// An inner packet comes out as it went in: at the node and in the domain for which it was sealed, from the node that its
/// source address names.
enum InnerPacketsIntact {
    /// What a flow's packet must be where it comes out.
    struct Expected {
        var sender: Int
        var receiver: Int
        var domain: RoutingDomainID
        var source: IPAddress?
        var destination: IPAddress?
    }

    /// `sealer` is the host that sealed the datagram; `packet` what was handed to the interface.
    static func judge(
        _ packet: UnsafeRawBufferPointer, flow: FlowPacket, at host: Int, in domain: RoutingDomainID, sealer: Int,
        _ expected: Expected
    ) -> String? {
        if host != expected.receiver { return "a packet for another node was delivered" }
        if domain != expected.domain {
            return "a packet of domain \(expected.domain) was delivered in domain \(domain)"
        }
        if sealer != expected.sender {
            return "a packet was sealed by another node than the one that its flow comes from"
        }
        if let source = expected.source, flow.source != source {
            return "a packet with source \(flow.source) was delivered; the node that sealed it has \(source)"
        }
        if let destination = expected.destination, flow.destination != destination {
            return "a packet for \(flow.destination) was delivered at \(destination)"
        }
        return flow.matches(packet) ? nil : "a packet's bytes differ from those that were sent"
    }
}
