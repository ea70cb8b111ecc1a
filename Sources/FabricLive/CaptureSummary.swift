internal import FabricCapture
internal import FabricCore
internal import FabricLinux

/// What the captures of all links were found to hold.
public struct CaptureSummary: Sendable, Encodable {
    /// Violations that are told; more are counted only.
    public static let maximumViolations = 20
    /// The MTU of agents' interfaces: 1500 less IPv6, UDP and WireGuard, and 8 for the relay prefix.
    static let tunnelMTU = 1412

    public struct Canary: Sendable, Encodable {
        /// Datagrams with the canary that went into the tunnel, and that came out at the other end.
        public var sent: Int
        public var arrived: Int
        /// Between which nodes, in order of first use.
        public var pairs: [String]
    }

    public var held: Bool
    public var links: Int
    public var packets: UInt64
    public var bytes: UInt64
    /// Seen on a link; one that crosses two links counts twice.
    public var tlsConnections: UInt64
    /// By kind.
    public var kinds: [String: UInt64]
    public var violationCount: UInt64
    public var violations: [String]
    public var canary: Canary

    /// Judges the recorded links: WireGuard between nodes' tunnel ports, TLS 1.3 with the control plane, what links
    /// need, and nothing else; the canary nowhere.
    static func judge(
        _ links: [RecordedLink], control: Endpoint, canary bytes: [UInt8], canary: Canary, tunnelWasUp: Bool,
        processesDie: Bool = false
    ) throws -> CaptureSummary {
        var rules = CaptureRules.fabric(canaries: [bytes], tunnelMTUs: [tunnelMTU])
        let underlay = IPPrefix(IPAddress(v4: 10 << 24), length: 8)!
        let port = LiveNetwork.tunnelPort
        rules.restrict(
            PacketKind.wireGuard, to: .among([EndpointPattern(prefix: underlay, ports: port...port)]))
        rules.restrict([.tls, .tcpControl], to: .with([EndpointPattern(control)]))
        // The kernel of a process that has died says that nobody listens there (RFC 1122, section 4.1.3.1).
        if processesDie { rules.restrict([.destinationUnreachable], to: .any) }
        var summary = CaptureSummary(
            held: true, links: links.count, packets: 0, bytes: 0, tlsConnections: 0, kinds: [:], violationCount: 0,
            violations: [], canary: canary)
        for link in links { summary.add(link.name, try verdict(link, rules)) }
        if tunnelWasUp, canary.arrived == 0 {
            summary.violationCount += 1
            summary.violations.append("a tunnel was up, but no canary of \(canary.sent) came out of it")
        }
        summary.held = summary.violationCount == 0
        return summary
    }

    private static func verdict(_ link: RecordedLink, _ rules: CaptureRules) throws -> CaptureVerdict {
        let file = try CaptureFile(path: link.path)
        var verifier = CaptureVerifier(rules: rules)
        while try file.next({ frame in
            verifier.take(frame.bytes, link: file.link, time: frame.time, originalLength: frame.originalLength)
        }) != nil {}
        return verifier.finish(lost: link.dropped)
    }

    private mutating func add(_ link: String, _ verdict: CaptureVerdict) {
        packets += verdict.packets
        bytes += verdict.bytes
        tlsConnections += verdict.tlsConnections
        for (kind, count) in verdict.counts { kinds[kind.rawValue, default: 0] += count }
        violationCount += verdict.violationCount
        let room = max(0, CaptureSummary.maximumViolations - violations.count)
        violations += verdict.violations.prefix(room).map { "link of \(link): \($0)" }
    }

    /// Lines for a person.
    public var text: String {
        var lines = ["underlay  \(packets) packets on \(links) links, \(tlsConnections) TLS 1.3 connections"]
        let counts = kinds.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
        lines.append("          " + counts.joined(separator: ", "))
        let between = canary.pairs.isEmpty ? "" : " (\(canary.pairs.joined(separator: ", ")))"
        lines.append("canary    \(canary.sent) sent through a tunnel, \(canary.arrived) arrived\(between)")
        lines.append("capture   \(held ? "held: nothing else on the wire" : "BROKEN: \(violationCount) violations")")
        lines += violations.map { "          \($0)" }
        return lines.joined(separator: "\n") + "\n"
    }
}
