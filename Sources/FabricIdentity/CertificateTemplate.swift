internal import FabricCore
internal import SwiftASN1

/// What goes into a certificate of ours. The same template and seed give the same bytes.
struct CertificateTemplate {
    enum Role {
        /// `pathLength`: how many authorities may stand between this one and a leaf.
        case authority(pathLength: Int)
        case leaf
    }

    static let maximumNames = 16

    var role: Role
    var serial: [UInt8]
    var issuerName: [UInt8]
    var issuerKey: [UInt8]
    var subjectName: [UInt8]
    var publicKey: [UInt8]
    var validity: Range<WallTime>
    var spiffeID: SPIFFEID
    /// Host names, and IP addresses as text.
    var dnsNames: [String] = []

    func sign(seed: [UInt8]) throws(CertificateError) -> [UInt8] {
        try Ed25519Key.check(publicKey: publicKey)
        let serial = Array(serial.drop { $0 == 0 })
        guard !serial.isEmpty,
            serial.count < ParsedCertificate.maximumSerialLength || serial.count == 20 && serial[0] < 0x80
        else { throw .malformed("a serial number is positive and has at most 20 bytes") }
        guard !validity.isEmpty else { throw .malformed("an empty validity") }
        let notBefore = CertificateTime(seconds: validity.lowerBound.seconds)
        let notAfter = CertificateTime(
            seconds: WallTime(nanoseconds: validity.upperBound.nanoseconds - 1).seconds)
        guard notAfter.seconds >= notBefore.seconds else {
            throw .malformed("a validity shorter than a second")
        }
        return try SignedStructure.decoding("a new certificate") {
            try SignedStructure.sign(seed: seed) { coder in
                try coder.serialize(2, explicitlyTaggedWithTagNumber: 0, tagClass: .contextSpecific)
                try coder.serialize(serial[...])
                try AlgorithmIdentifier.ed25519.serialize(into: &coder)
                coder.serializeRawBytes(issuerName)
                try coder.appendConstructedNode(identifier: .sequence) { coder in
                    try notBefore.serialize(into: &coder)
                    try notAfter.serialize(into: &coder)
                }
                coder.serializeRawBytes(subjectName)
                try SubjectPublicKeyInfo.serialize(publicKey, into: &coder)
                try coder.serialize(explicitlyTaggedWithTagNumber: 3, tagClass: .contextSpecific) { coder in
                    try coder.serializeSequenceOf(try extensions())
                }
            }
        }
    }

    private func extensions() throws -> [CertificateExtensions.Entry] {
        var entries = try CertificateTemplate.usage(role)
        entries.append(
            CertificateTemplate.alternativeNames(
                spiffeID, dnsNames, critical: subjectName == DistinguishedName.empty))
        entries.append(
            .init(
                .subjectKeyIdentifier, critical: false,
                try encoded { coder in
                    let identifier = Ed25519Key.identifier(publicKey: publicKey)
                    try coder.serialize(ASN1OctetString(contentBytes: identifier[...]))
                }))
        entries.append(
            .init(
                .authorityKeyIdentifier, critical: false,
                encoded { coder in
                    coder.appendConstructedNode(identifier: .sequence) { coder in
                        coder.appendPrimitiveNode(identifier: .context(0)) {
                            $0.append(contentsOf: Ed25519Key.identifier(publicKey: issuerKey))
                        }
                    }
                }))
        return entries
    }

    /// Basic constraints, key usage and extended key usage, as a certificate says them and as a request asks for them.
    static func usage(_ role: Role) throws -> [CertificateExtensions.Entry] {
        let constraints = try encoded { coder in
            try coder.appendConstructedNode(identifier: .sequence) { coder in
                guard case .authority(let pathLength) = role else { return }
                try coder.serialize(true)
                try coder.serialize(pathLength)
            }
        }
        // DER drops the trailing zero bits of a named bit list: 0x80 has seven of them, 0x06 one.
        let bits: ASN1BitString =
            switch role {
            case .authority: .init(bytes: [KeyUsage([.keyCertSign, .cRLSign]).rawValue], paddingBits: 1)
            case .leaf: .init(bytes: [KeyUsage.digitalSignature.rawValue], paddingBits: 7)
            }
        var entries: [CertificateExtensions.Entry] = [
            .init(.basicConstraints, critical: true, constraints),
            .init(.keyUsage, critical: true, try encoded { try $0.serialize(bits) }),
        ]
        if case .leaf = role {
            entries.append(
                .init(
                    .extendedKeyUsage, critical: false,
                    try encoded {
                        try $0.serializeSequenceOf([ASN1ObjectIdentifier.serverAuth, .clientAuth])
                    }))
        }
        return entries
    }

    static func alternativeNames(
        _ spiffeID: SPIFFEID, _ dnsNames: [String], critical: Bool
    ) -> CertificateExtensions.Entry {
        let value = encoded { coder in
            coder.appendConstructedNode(identifier: .sequence) { coder in
                coder.appendPrimitiveNode(identifier: .context(6)) {
                    $0.append(contentsOf: spiffeID.text.utf8)
                }
                for name in dnsNames {
                    if let address = IPAddress(name) {
                        coder.appendPrimitiveNode(identifier: .context(7)) {
                            $0.append(contentsOf: address.bytes)
                        }
                    } else {
                        coder.appendPrimitiveNode(identifier: .context(2)) { $0.append(contentsOf: name.utf8) }
                    }
                }
            }
        }
        return .init(.subjectAlternativeName, critical: critical, value)
    }

    /// A host name as RFC 1123 has it, in lower case, or an IP address.
    static func isHostName(_ name: String) -> Bool {
        if IPAddress(name) != nil { return true }
        return name.utf8.count <= 253
            && name.utf8.split(separator: 46, omittingEmptySubsequences: false).allSatisfy { label in
                (1...63).contains(label.count) && label.first != 45 && label.last != 45
                    && label.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 }
            }
    }
}

/// The DER that `body` writes.
func encoded(_ body: (inout DER.Serializer) throws -> Void) rethrows -> [UInt8] {
    var coder = DER.Serializer()
    try body(&coder)
    return coder.serializedBytes
}
