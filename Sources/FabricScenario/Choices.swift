internal import FabricDocument

/// A word out of few; a wrong one is answered with the nearest right one.
public protocol NamedChoice: RawRepresentable<String>, CaseIterable, Decodable, Hashable, Sendable {
    static var noun: String { get }
}

extension NamedChoice {
    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let value = Self(rawValue: text) else {
            let mend = NearestName.mend(text, among: Self.allCases.map(\.rawValue), noun: Self.noun)
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: decoder.codingPath,
                    debugDescription: "there is no \(Self.noun) “\(text.prefix(40))”; \(mend)"))
        }
        self = value
    }
}

/// The hosts that run scenarios.
public enum ScenarioHost: String, NamedChoice {
    case simulator, live
    public static let noun = "host"
}

/// The kinds of request whose answers can be lost.
public enum RequestKind: String, NamedChoice {
    /// A node presents its token and asks to join.
    case join
    /// A node proves that it holds its keys.
    case proof
    /// A node asks what became of its request; the answer brings the certificate.
    case status
    case heartbeat
    /// A node waits for a snapshot, records or trust.
    case updates
    /// A node renews its certificate.
    case certificate
    public static let noun = "kind of request"
}

/// Why an enrolment is refused: the codes of the control plane's problems (RFC 9457) that an agent can meet.
public enum EnrolmentRefusal: String, NamedChoice {
    case malformedRequest = "malformed-request"
    case tokenUnknown = "token-unknown"
    case tokenExpired = "token-expired"
    case tokenRevoked = "token-revoked"
    case tokenUsedUp = "token-used-up"
    case tokenScope = "token-scope"
    case requestUnacceptable = "request-unacceptable"
    case keyInUse = "key-in-use"
    case proofFailed = "proof-failed"
    case requestRejected = "request-rejected"
    case admissionInvalid = "admission-invalid"
    case nodeDisabled = "node-disabled"
    case notFound = "not-found"
    case conflict
    public static let noun = "reason"
}

/// What a node is at, as conditions name it.
public enum PhaseName: String, NamedChoice {
    case off, joining
    case awaitingApproval = "awaiting-approval"
    case active, refused
    public static let noun = "phase"

    func matches(_ phase: NodePhase) -> Bool {
        switch (self, phase) {
        case (.off, .off), (.joining, .joining), (.awaitingApproval, .awaitingApproval), (.active, .active),
            (.refused, .refused):
            true
        default: false
        }
    }
}

public enum ControlState: String, NamedChoice {
    case up, down
    public static let noun = "state of the control plane"
}
