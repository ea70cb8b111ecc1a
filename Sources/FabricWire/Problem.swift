public import FabricDocument

/// A refusal in the form of RFC 9457 (`application/problem+json`).
///
/// `type` is `urn:rap:problem:` and the code. Codes are stable: programs and scenario files name them.
public struct Problem: Error, Hashable, Sendable, Codable {
    public var type: String
    public var title: String
    public var status: Int
    /// What was wrong with this request, where, and what mends it.
    public var detail: String

    public init(_ code: Code, _ detail: String) {
        type = Self.typePrefix + code.rawValue
        title = code.title
        status = code.status
        self.detail = detail
    }

    public var code: Code? {
        guard type.hasPrefix(Self.typePrefix) else { return nil }
        return Code(rawValue: String(type.dropFirst(Self.typePrefix.count)))
    }

    private static let typePrefix = "urn:rap:problem:"

    public enum Code: String, Hashable, Sendable, CaseIterable {
        case malformedRequest = "malformed-request"
        case unauthenticated = "unauthenticated"
        case forbidden = "forbidden"
        case notFound = "not-found"
        case methodNotAllowed = "method-not-allowed"
        case conflict = "conflict"
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
        case certificateReplaced = "certificate-replaced"
        case limitReached = "limit-reached"
        case tooLarge = "too-large"
        case unavailable = "unavailable"
        case internalError = "internal-error"

        public var status: Int {
            switch self {
            case .malformedRequest: 400
            case .unauthenticated, .tokenUnknown: 401
            case .forbidden, .tokenExpired, .tokenRevoked, .tokenUsedUp, .tokenScope, .requestRejected, .nodeDisabled,
                .certificateReplaced:
                403
            case .notFound: 404
            case .methodNotAllowed: 405
            case .conflict, .keyInUse: 409
            case .tooLarge: 413
            case .requestUnacceptable, .proofFailed, .admissionInvalid: 422
            case .limitReached: 429
            case .internalError: 500
            case .unavailable: 503
            }
        }

        var title: String {
            switch self {
            case .malformedRequest: "The request is malformed"
            case .unauthenticated: "Credentials are missing or wrong"
            case .forbidden: "Not allowed"
            case .notFound: "No such thing"
            case .methodNotAllowed: "The method does not apply here"
            case .conflict: "The request conflicts with what is recorded"
            case .tokenUnknown: "No such join token"
            case .tokenExpired: "The join token has expired"
            case .tokenRevoked: "The join token was revoked"
            case .tokenUsedUp: "The join token has no uses left"
            case .tokenScope: "The join token does not cover this request"
            case .requestUnacceptable: "The join request can't be accepted"
            case .keyInUse: "A key is already in use"
            case .proofFailed: "Possession of a key was not proven"
            case .requestRejected: "The join request was rejected"
            case .admissionInvalid: "The admission statement is not valid"
            case .nodeDisabled: "The node's membership is disabled"
            case .certificateReplaced: "The node's certificate has been replaced"
            case .limitReached: "A limit is reached"
            case .tooLarge: "The request is too large"
            case .unavailable: "Not available now"
            case .internalError: "Something went wrong on our side"
            }
        }

        /// Whether asking again later, unchanged, can succeed.
        public var isTransient: Bool {
            switch self {
            case .limitReached, .unavailable, .internalError: true
            default: false
            }
        }
    }

    public var reply: HTTPReply {
        HTTPReply(status: status, contentType: HTTPReply.problemJSON, body: JSON.encodeOwn(self))
    }
}

extension JSON {
    /// Encodes a document type of ours; that it can't be encoded is our bug.
    public static func encodeOwn(_ value: some Encodable) -> [UInt8] {
        do { return try encode(value) } catch { preconditionFailure("a document of ours can't be encoded: \(error)") }
    }

    public static func encodeOwn(_ value: some PlainDocument) -> [UInt8] {
        do { return try encode(value) } catch { preconditionFailure("a document of ours can't be encoded: \(error)") }
    }
}
