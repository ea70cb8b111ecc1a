public import FabricCore

/// Which endpoints a rule means: addresses within `prefix`, and ports if it names any.
public struct EndpointPattern: Hashable, Sendable {
    public var prefix: IPPrefix
    public var ports: ClosedRange<UInt16>?

    public init(prefix: IPPrefix, ports: ClosedRange<UInt16>? = nil) {
        self.prefix = prefix
        self.ports = ports
    }

    public init(_ endpoint: Endpoint) {
        self.init(prefix: IPPrefix(host: endpoint.address), ports: endpoint.port...endpoint.port)
    }

    public func matches(_ endpoint: Endpoint) -> Bool {
        prefix.contains(endpoint.address) && (ports?.contains(endpoint.port) ?? true)
    }
}

/// What may be on the wire. Everything else is a violation.
public struct CaptureRules: Sendable {
    public enum Peers: Hashable, Sendable {
        case any
        /// Source and destination must each match one of these.
        case among([EndpointPattern])
        /// One of the two must match one of these: a server's address.
        case with([EndpointPattern])
    }

    /// The kinds that may occur, and between whom. Packets without addresses are held to the kind alone.
    public var allowed: [PacketKind: Peers]
    /// Byte strings that must occur nowhere: in no packet, and in no TCP stream across packets.
    public var canaries: [[UInt8]]
    /// The MTUs of the tunnels' interfaces: WireGuard does not pad a full packet beyond them.
    public var tunnelMTUs: Set<Int>

    public init(allowed: [PacketKind: Peers], canaries: [[UInt8]], tunnelMTUs: Set<Int>) {
        self.allowed = allowed
        self.canaries = canaries
        self.tunnelMTUs = tunnelMTUs
    }

    /// WireGuard and TLS 1.3 between anyone, and what links need to work.
    public static func fabric(canaries: [[UInt8]], tunnelMTUs: Set<Int>) -> CaptureRules {
        let kinds = PacketKind.wireGuard.union(PacketKind.infrastructure).union([.tls, .tcpControl])
        return CaptureRules(
            allowed: Dictionary(uniqueKeysWithValues: kinds.map { ($0, Peers.any) }), canaries: canaries,
            tunnelMTUs: tunnelMTUs)
    }

    /// Confines kinds to certain peers.
    public mutating func restrict(_ kinds: Set<PacketKind>, to peers: Peers) {
        for kind in kinds { allowed[kind] = peers }
    }

    func allows(_ kind: PacketKind, _ flow: Flow?) -> Violation.Reason? {
        guard let peers = allowed[kind] else { return .kindNotAllowed(kind) }
        guard let flow else { return nil }
        let isAllowed =
            switch peers {
            case .any: true
            case .among(let patterns):
                patterns.contains { $0.matches(flow.source) } && patterns.contains { $0.matches(flow.destination) }
            case .with(let patterns):
                patterns.contains { $0.matches(flow.source) || $0.matches(flow.destination) }
            }
        return isAllowed ? nil : .peerNotAllowed(kind)
    }
}

/// One thing on the wire that should not have been there.
public struct Violation: Hashable, Sendable, CustomStringConvertible {
    public enum Reason: Hashable, Sendable, CustomStringConvertible {
        case kindNotAllowed(PacketKind)
        case peerNotAllowed(PacketKind)
        case malformed(String)
        case canary
        case canaryAcrossSegments
        case tls(TLSViolation)
        case connectionBeginningNotCaptured
        case tooMuchOutOfOrder
        /// Bytes of a TCP stream are missing, so what they were is unknown.
        case streamGap
        /// The capture holds only a part of the packet, so what the rest was is unknown.
        case packetCutByCapture
        /// The capture lost packets, so what they were is unknown.
        case packetsLostByCapture(UInt64)

        public var description: String {
            switch self {
            case .kindNotAllowed(let kind): "\(kind.rawValue) is not allowed"
            case .peerNotAllowed(let kind): "\(kind.rawValue) is not allowed between these peers"
            case .malformed(let what): "malformed: \(what)"
            case .canary: "the canary is in the packet"
            case .canaryAcrossSegments: "the canary is in the TCP stream"
            case .tls(let violation): "not TLS 1.3: \(violation)"
            case .connectionBeginningNotCaptured: "the beginning of this TCP connection was not captured"
            case .tooMuchOutOfOrder: "too many out-of-order bytes in this TCP connection to check it"
            case .streamGap: "bytes of this TCP connection are missing in the capture"
            case .packetCutByCapture: "the capture holds only a part of the packet"
            case .packetsLostByCapture(let count): "the capture lost \(count) packets"
            }
        }
    }

    /// Counted from 1, as capture tools do; 0 when the violation belongs to no single packet.
    public var packetNumber: UInt64
    public var time: WallTime
    public var flow: Flow?
    public var reason: Reason

    public var description: String {
        let place = packetNumber == 0 ? "capture" : "packet \(packetNumber) at \(time)"
        return "\(place)\(flow.map { " \($0)" } ?? ""): \(reason)"
    }
}

/// What a capture was found to hold.
public struct CaptureVerdict: Sendable, CustomStringConvertible {
    /// Violations that are kept; more are counted only.
    public static let maximumViolations = 1_000

    public internal(set) var packets: UInt64 = 0
    public internal(set) var bytes: UInt64 = 0
    public internal(set) var first: WallTime?
    public internal(set) var last: WallTime?
    /// TCP connections in which both sides said a TLS 1.3 hello.
    public internal(set) var tlsConnections: UInt64 = 0
    /// The first ones, in the order of packets.
    public internal(set) var violations: [Violation] = []
    public internal(set) var violationCount: UInt64 = 0
    private var byKind: [PacketKind: UInt64] = [:]

    public var held: Bool { violationCount == 0 }

    /// Packets per kind, by name, without those that did not occur.
    public var counts: [(kind: PacketKind, packets: UInt64)] {
        byKind.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    public func count(_ kind: PacketKind) -> UInt64 { byKind[kind] ?? 0 }

    mutating func add(_ kind: PacketKind) { byKind[kind, default: 0] += 1 }

    mutating func add(_ violation: Violation) {
        violationCount += 1
        if violations.count < CaptureVerdict.maximumViolations { violations.append(violation) }
    }

    public var description: String {
        var lines = ["\(packets) packets, \(bytes) bytes, \(tlsConnections) TLS 1.3 connections"]
        lines += counts.map { "  \($0.kind.rawValue): \($0.packets)" }
        lines.append(held ? "held: nothing else on the wire" : "broken: \(violationCount) violations")
        lines += violations.prefix(20).map { "  \($0)" }
        if violationCount > 20 { lines.append("  … and \(violationCount - 20) more") }
        return lines.joined(separator: "\n")
    }
}
