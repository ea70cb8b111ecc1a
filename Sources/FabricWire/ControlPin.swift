public import FabricCore

/// How agents and operators know the control plane: by the SHA-256 of its root certificate, which its chain ends with.
public enum ControlPin {
    /// Verifies a chain that a server presented (DER, leaf first, root last): its root is the pinned one, and its leaf is the
    /// control plane's SVID.
    public static func verify(
        chain: [[UInt8]], pin: [UInt8], time: WallTime, _ certificates: any CertificateProvider,
        _ cryptography: any Cryptography
    ) throws(CertificateError) -> CertificateFacts {
        guard let root = chain.last, chain.count >= 2,
            constantTimeEqual(cryptography.sha256(root), pin) || planted(.controlPinIgnored)
        else {
            throw .untrustedRoot
        }
        let facts = try certificates.validate(chain: Array(chain.dropLast()), roots: [root], time: time)
        guard facts.spiffeID == FabricIdentifier.control else {
            throw .violates("the server is \(facts.spiffeID), not the control plane")
        }
        return facts
    }
}
