public import FabricCore

/// What an operator hands to a new host. Text form: `rap1.` and base64url of
///
/// ```
/// offset  bytes  field
/// 0       1      version, 1
/// 1       32     secret; the control plane stores only its SHA-256
/// 33      32     SHA-256 of the control plane's root certificate (DER)
/// 65      32     SHA-256 of the cluster's root certificate (DER)
/// 97      1      n, the length of what follows: a token that lost its end on the way is noticed
/// 98      n      the cluster's id, ASCII, to the end
/// ```
public struct JoinToken: Hashable, Sendable, LosslessStringConvertible {
    public var secret: [UInt8]
    public var controlPin: [UInt8]
    public var clusterPin: [UInt8]
    public var cluster: ClusterID

    public init(secret: [UInt8], controlPin: [UInt8], clusterPin: [UInt8], cluster: ClusterID) {
        precondition(secret.count == 32 && controlPin.count == 32 && clusterPin.count == 32)
        self.secret = secret
        self.controlPin = controlPin
        self.clusterPin = clusterPin
        self.cluster = cluster
    }

    public init?(_ text: String) {
        guard text.utf8.count <= 256, text.hasPrefix("rap1."), let bytes = Base64URL.decode(String(text.dropFirst(5))),
            bytes.count > 98, bytes[0] == 1, bytes.count == 98 + Int(bytes[97]),
            let cluster = ClusterID(String(decoding: bytes[98...], as: UTF8.self))
        else { return nil }
        self.init(
            secret: Array(bytes[1..<33]), controlPin: Array(bytes[33..<65]), clusterPin: Array(bytes[65..<97]),
            cluster: cluster)
    }

    public var description: String {
        let name = Array(cluster.text.utf8)
        return "rap1." + Base64URL.encode([1] + secret + controlPin + clusterPin + [UInt8(name.count)] + name)
    }

    /// What travels as the bearer of an enrolment.
    public var bearer: String { Base64URL.encode(secret) }
}
