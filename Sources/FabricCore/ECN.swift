/// Explicit congestion notification (RFC 3168, section 5): the low two bits of IPv4's type of service and of IPv6's traffic
/// class. A queue that fills marks packets of those who speak it, instead of dropping them.
public enum ECN: UInt8, CaseIterable, Hashable, Sendable, CustomStringConvertible {
    /// The sender does not speak it.
    case notECT = 0
    case ect1 = 1
    case ect0 = 2
    /// Congestion experienced: a queue on the way was filling.
    case ce = 3

    /// Of a whole type of service or traffic class.
    @inlinable
    public init(trafficClass: UInt8) { self = ECN(rawValue: trafficClass & 3)! }

    /// What a packet with this mark has once the datagram around it came with `outer` (RFC 6040, figure 4). Nil: it is to be
    /// dropped, since its sender would not understand the mark and nobody else may answer for the congestion.
    @inlinable
    public func decapsulated(from outer: ECN) -> ECN? {
        switch (self, outer) {
        case (.notECT, .ce): nil
        case (.notECT, _): .notECT
        case (.ce, _), (_, .ce): .ce
        case (.ect0, .ect1): .ect1
        case (.ect0, _), (.ect1, _): self
        }
    }

    public var description: String {
        switch self {
        case .notECT: "Not-ECT"
        case .ect1: "ECT(1)"
        case .ect0: "ECT(0)"
        case .ce: "CE"
        }
    }
}
