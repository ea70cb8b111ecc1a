public import FabricCore

/// Checks frames against rules as they come; memory is bounded by its limits, not by the capture's size.
public struct CaptureVerifier {
    private let rules: CaptureRules
    private let tracker: TCPTracker
    private var verdict = CaptureVerdict()

    public init(rules: CaptureRules) {
        self.rules = rules
        tracker = TCPTracker(canaries: rules.canaries)
    }

    /// Takes the next frame. `originalLength` is its size on the wire. Returns what it counts as.
    @discardableResult
    public mutating func take(
        _ frame: UnsafeRawBufferPointer, link: LinkType, time: WallTime, originalLength: Int
    ) -> PacketKind {
        verdict.packets += 1
        verdict.bytes += UInt64(max(originalLength, 0))
        if verdict.first == nil { verdict.first = time }
        verdict.last = time
        let decoded = PacketDecoder.decode(frame, link: link)
        var reasons: [Violation.Reason] = []
        if originalLength > frame.count { reasons.append(.packetCutByCapture) }
        let kind = classify(decoded, frame, &reasons)
        verdict.add(kind)
        if let reason = rules.allows(kind, decoded.flow) { reasons.append(reason) }
        if rules.canaries.contains(where: { ByteSearch.find($0, in: frame) }) { reasons.append(.canary) }
        for reason in reasons {
            verdict.add(Violation(packetNumber: verdict.packets, time: time, flow: decoded.flow, reason: reason))
        }
        return kind
    }

    /// The verdict after the last frame. `lost` is what the capture itself dropped.
    public consuming func finish(lost: UInt64 = 0) -> CaptureVerdict {
        let time = verdict.last ?? WallTime(seconds: 0)
        for flow in tracker.flowsWithGaps() {
            verdict.add(Violation(packetNumber: 0, time: time, flow: flow, reason: .streamGap))
        }
        if lost > 0 {
            verdict.add(Violation(packetNumber: 0, time: time, flow: nil, reason: .packetsLostByCapture(lost)))
        }
        verdict.tlsConnections = tracker.tlsConnections
        return verdict
    }

    /// Checks a pcap or pcapng file.
    public static func verify(path: String, rules: CaptureRules) throws(CaptureError) -> CaptureVerdict {
        let file = try CaptureFile(path: path)
        var verifier = CaptureVerifier(rules: rules)
        while try file.next({ frame in
            verifier.take(frame.bytes, link: file.link, time: frame.time, originalLength: frame.originalLength)
        }) != nil {}
        return verifier.finish()
    }

    private func classify(
        _ decoded: DecodedPacket, _ frame: UnsafeRawBufferPointer, _ reasons: inout [Violation.Reason]
    ) -> PacketKind {
        switch decoded.content {
        case .arp: return .arp
        case .icmp(type: 3), .icmpv6(type: 1): return .destinationUnreachable
        case .icmp: return .icmp
        case .icmpv6(type: 133...137): return .neighborDiscovery
        case .icmpv6(type: 130...132), .icmpv6(type: 143), .igmp: return .groupMembership
        case .icmpv6: return .icmpv6
        case .udp(let payload):
            let contents = UnsafeRawBufferPointer(rebasing: frame[payload])
            return WireGuardMessage.classify(contents, tunnelMTUs: rules.tunnelMTUs) ?? .otherUDP
        case .tcp(let segment):
            let (kind, findings) = tracker.take(segment, decoded.flow!, frame)
            reasons += findings.map { finding in
                switch finding {
                case .tls(let violation): .tls(violation)
                case .beginningNotCaptured: .connectionBeginningNotCaptured
                case .tooMuchOutOfOrder: .tooMuchOutOfOrder
                case .canary: .canaryAcrossSegments
                }
            }
            return kind
        case .fragment: return .fragment
        case .otherIP: return .otherIP
        case .otherLink: return .otherLink
        case .malformed(let what):
            reasons.append(.malformed(what))
            return .malformed
        }
    }
}
