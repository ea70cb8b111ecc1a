internal import FabricCore
internal import SwiftASN1

extension ASN1ObjectIdentifier {
    static let subjectKeyIdentifier: ASN1ObjectIdentifier = [2, 5, 29, 14]
    static let keyUsage: ASN1ObjectIdentifier = [2, 5, 29, 15]
    static let subjectAlternativeName: ASN1ObjectIdentifier = [2, 5, 29, 17]
    static let basicConstraints: ASN1ObjectIdentifier = [2, 5, 29, 19]
    static let nameConstraints: ASN1ObjectIdentifier = [2, 5, 29, 30]
    static let authorityKeyIdentifier: ASN1ObjectIdentifier = [2, 5, 29, 35]
    static let extendedKeyUsage: ASN1ObjectIdentifier = [2, 5, 29, 37]
    static let anyExtendedKeyUsage: ASN1ObjectIdentifier = [2, 5, 29, 37, 0]
    static let serverAuth: ASN1ObjectIdentifier = [1, 3, 6, 1, 5, 5, 7, 3, 1]
    static let clientAuth: ASN1ObjectIdentifier = [1, 3, 6, 1, 5, 5, 7, 3, 2]
}

/// The bits of RFC 5280 section 4.2.1.3 that the SVID rules speak of, as the first octet of the BIT STRING.
struct KeyUsage: OptionSet {
    let rawValue: UInt8
    static let digitalSignature = KeyUsage(rawValue: 0x80)
    static let keyCertSign = KeyUsage(rawValue: 0x04)
    static let cRLSign = KeyUsage(rawValue: 0x02)
}

/// The extensions (RFC 5280 section 4.2) that the SVID rules speak of, as a certificate or a request carries them.
struct CertificateExtensions {
    /// More than any certificate needs; each is looked at once.
    static let maximumCount = 32
    static let maximumNames = 64

    struct BasicConstraints {
        var critical: Bool
        var isAuthority: Bool
        var pathLength: Int?
    }

    struct AlternativeNames {
        var critical: Bool
        var uris: [String] = []
        /// How many there are of other kinds.
        var others = 0
    }

    var basicConstraints: BasicConstraints?
    var keyUsage: (critical: Bool, bits: KeyUsage)?
    var extendedKeyUsage: [ASN1ObjectIdentifier]?
    var alternativeNames: AlternativeNames?
    var subjectKeyIdentifier: [UInt8]?
    var authorityKeyIdentifier: [UInt8]?
    /// Carries name constraints, or something critical that is unknown here.
    var unprocessed = false

    var uris: [String] { alternativeNames?.uris ?? [] }
    var isAuthority: Bool { basicConstraints?.isAuthority ?? false }

    init() {}

    /// From `Extensions ::= SEQUENCE OF Extension`.
    init(_ node: ASN1Node) throws {
        var seen: [ASN1ObjectIdentifier] = []
        let entries = try DER.sequence(of: Entry.self, identifier: .sequence, rootNode: node)
        guard (1...CertificateExtensions.maximumCount).contains(entries.count) else {
            throw CertificateError.malformed("\(entries.count) extensions")
        }
        for entry in entries {
            guard !seen.contains(entry.identifier) else {
                throw CertificateError.malformed("an extension stands twice")
            }
            seen.append(entry.identifier)
            try take(entry)
        }
    }

    private mutating func take(_ entry: Entry) throws {
        let value = try DER.parse(entry.value)
        switch entry.identifier {
        case .basicConstraints: basicConstraints = try BasicConstraints(value, critical: entry.critical)
        case .keyUsage: keyUsage = (entry.critical, try CertificateExtensions.keyUsage(value))
        case .extendedKeyUsage:
            let usages = try DER.sequence(
                of: ASN1ObjectIdentifier.self, identifier: .sequence, rootNode: value)
            guard (1...CertificateExtensions.maximumNames).contains(usages.count) else {
                throw CertificateError.violates("an extended key usage that names none, or too many")
            }
            extendedKeyUsage = usages
        case .subjectAlternativeName:
            alternativeNames = try AlternativeNames(value, critical: entry.critical)
        case .subjectKeyIdentifier:
            subjectKeyIdentifier = Array(try ASN1OctetString(derEncoded: value).bytes)
        case .authorityKeyIdentifier:
            authorityKeyIdentifier = try DER.sequence(value, identifier: .sequence) { nodes in
                var identifier: [UInt8]?
                while let node = nodes.next() {
                    if node.identifier == .context(0) { identifier = try Array(node.primitiveBytes) }
                }
                return identifier
            }
        // RFC 5280 wants name constraints processed by whoever meets them; the trust domain of the authority binds its
        // names already.
        case .nameConstraints: unprocessed = true
        default: unprocessed = unprocessed || entry.critical
        }
    }

    private static func keyUsage(_ node: ASN1Node) throws -> KeyUsage {
        let bits = try ASN1BitString(derEncoded: node)
        guard (1...2).contains(bits.bytes.count), bits.bytes.contains(where: { $0 != 0 }) else {
            throw CertificateError.malformed("an empty key usage")
        }
        return KeyUsage(rawValue: bits.bytes.first!)
    }

    /// `Extension ::= SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }`
    struct Entry: DERParseable, DERSerializable {
        var identifier: ASN1ObjectIdentifier
        var critical: Bool
        var value: ArraySlice<UInt8>

        init(_ identifier: ASN1ObjectIdentifier, critical: Bool, _ value: [UInt8]) {
            self.identifier = identifier
            self.critical = critical
            self.value = value[...]
        }

        init(derEncoded node: ASN1Node) throws {
            self = try DER.sequence(node, identifier: .sequence) { nodes in
                let identifier = try ASN1ObjectIdentifier(derEncoded: &nodes)
                let critical = try DER.decodeDefault(&nodes, defaultValue: false)
                let value = try ASN1OctetString(derEncoded: &nodes)
                return Entry(identifier, critical: critical, Array(value.bytes))
            }
        }

        func serialize(into coder: inout DER.Serializer) throws {
            try coder.appendConstructedNode(identifier: .sequence) { coder in
                try coder.serialize(identifier)
                if critical { try coder.serialize(true) }
                try coder.serialize(ASN1OctetString(contentBytes: value))
            }
        }
    }
}

extension CertificateExtensions.BasicConstraints {
    init(_ node: ASN1Node, critical: Bool) throws {
        self = try DER.sequence(node, identifier: .sequence) { nodes in
            let isAuthority = try DER.decodeDefault(&nodes, defaultValue: false)
            let pathLength = try nodes.next().map { try Int(derEncoded: $0) }
            guard pathLength.map({ $0 >= 0 && isAuthority }) ?? true else {
                throw CertificateError.malformed("a path length that means nothing")
            }
            return .init(critical: critical, isAuthority: isAuthority, pathLength: pathLength)
        }
    }
}

extension CertificateExtensions.AlternativeNames {
    init(_ node: ASN1Node, critical: Bool) throws {
        self = try DER.sequence(node, identifier: .sequence) { nodes in
            var names = Self(critical: critical)
            var count = 0
            while let node = nodes.next() {
                count += 1
                guard node.identifier.tagClass == .contextSpecific, node.identifier.tagNumber <= 8 else {
                    throw CertificateError.malformed("an unknown kind of alternative name")
                }
                if node.identifier == .context(6) {
                    let text = try node.primitiveBytes
                    guard text.allSatisfy({ (0x21...0x7E).contains($0) }) else {
                        throw CertificateError.malformed("a URI that is not printable ASCII")
                    }
                    names.uris.append(String(decoding: text, as: UTF8.self))
                } else {
                    names.others += 1
                }
            }
            guard (1...CertificateExtensions.maximumNames).contains(count) else {
                throw CertificateError.malformed("\(count) alternative names")
            }
            return names
        }
    }
}

extension ASN1Identifier {
    static func context(_ number: UInt) -> ASN1Identifier {
        ASN1Identifier(tagWithNumber: number, tagClass: .contextSpecific)
    }
}

extension ASN1Node {
    var primitiveBytes: ArraySlice<UInt8> {
        get throws {
            guard case .primitive(let bytes) = content else {
                throw CertificateError.malformed("a constructed value where a primitive one belongs")
            }
            return bytes
        }
    }
}
