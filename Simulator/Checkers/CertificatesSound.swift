internal import FabricCore

/// Certificates go to approved nodes, never outlive their issuer, and each has a serial number of its own.
struct CertificatesSound {
    /// Which certificate has a serial number. Looked up by key only.
    private var serials: [[UInt8]: [UInt8]] = [:]
    private var approved: Set<String> = []

    mutating func approved(_ node: String) { approved.insert(node) }

    /// A certificate leaves for a node: leaf and issuer, as inspected, and the leaf's bytes.
    mutating func issued(_ leaf: CertificateFacts, _ bytes: [UInt8], issuer: CertificateFacts, to node: String)
        -> String?
    {
        if !approved.contains(node) { return "node \(node) got a certificate and was never approved" }
        if leaf.validity.upperBound > issuer.validity.upperBound {
            return
                "a certificate is valid until \(leaf.validity.upperBound), its issuer until \(issuer.validity.upperBound)"
        }
        if leaf.validity.lowerBound < issuer.validity.lowerBound {
            return
                "a certificate is valid from \(leaf.validity.lowerBound), its issuer from \(issuer.validity.lowerBound)"
        }
        let before = serials[leaf.serial]
        serials[leaf.serial] = bytes
        return before == nil || before == bytes ? nil : "two certificates have serial number \(Hex.encode(leaf.serial))"
    }
}
