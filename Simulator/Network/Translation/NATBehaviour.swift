internal import FabricCore

/// How an address translator behaves, in the words of RFC 4787 (UDP) and RFC 5382 (TCP).
///
/// TCP goes out only: each connection is tracked by itself, whatever `mapping` and `filtering` say of UDP, and nobody outside
/// opens one.
public struct NATBehaviour: Hashable, Sendable {
    /// What a mapping or a filter looks at beyond the inner endpoint (RFC 4787 sections 4.1 and 5).
    public enum Dependence: Hashable, Sendable, CaseIterable {
        case endpointIndependent
        case addressDependent
        case addressAndPortDependent
    }

    /// Which outer port a new mapping gets (RFC 4787 section 4.2). None overloads a port.
    public enum PortAssignment: Hashable, Sendable, CaseIterable {
        /// The inner port; when that is taken, the next free one above it.
        case preserving
        case random
        /// One after the other, from 1024 on.
        case contiguous
    }

    public static let maximumTable = 60_000

    /// Endpoint-independent: all packets of an inner endpoint leave from one outer endpoint. Otherwise from one for each
    /// address, or each endpoint, that they go to.
    public var mapping: Dependence = .endpointIndependent
    /// Endpoint-independent: who knows the outer endpoint gets in. Otherwise those to whose address, or endpoint, the inner
    /// endpoint has sent.
    public var filtering: Dependence = .addressAndPortDependent
    public var ports: PortAssignment = .preserving
    /// Whether two hosts behind it reach each other by its outer endpoints (RFC 4787 section 6).
    public var hairpinning = true
    /// A UDP mapping or permission ends when nothing has gone out for so long.
    public var udpLifetime: Duration = .minutes(5)
    /// Packets that come in keep mapping and permission alive too.
    public var inboundRefresh = false
    /// Of a connection that has been answered; before that, four minutes at most (RFC 5382 REQ-5).
    public var tcpLifetime: Duration = .minutes(124)
    /// Mappings at most, and permissions at most; beyond, what needs a new one is dropped.
    public var table = 16_384

    public init() {}
}

/// What a translator did.
public struct NATCounters: Hashable, Sendable {
    /// Mappings made.
    public var mapped: UInt64 = 0
    /// Came in to a port without a mapping.
    public var unmapped: UInt64 = 0
    /// Came in from somewhere that the filter does not let through.
    public var filtered: UInt64 = 0
    /// Would have had to turn around in a translator that does not hairpin.
    public var notHairpinned: UInt64 = 0
    /// Could get no mapping or permission: the table or the ports were full.
    public var tableFull: UInt64 = 0
    /// Segments of a connection whose mapping is gone.
    public var unknownConnection: UInt64 = 0

    public init() {}
    public var dropped: UInt64 { unmapped + filtered + notHairpinned + tableFull + unknownConnection }
}

/// A translator of the simulated network; give it to `putBehind` and `rebind`.
public struct NATID: Hashable, Sendable {
    public let index: Int
}
