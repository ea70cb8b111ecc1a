internal import FabricCore
internal import SwiftASN1

/// PKCS#10 (RFC 2986): `CertificationRequestInfo ::= SEQUENCE { version 0, subject, subjectPKInfo, attributes [0] }`.
enum CertificateRequest {
    static let maximumAttributes = 16
    /// PKCS#9 extensionRequest (RFC 2985 section 5.4.2).
    private static let extensionRequest: ASN1ObjectIdentifier = [1, 2, 840, 113549, 1, 9, 14]

    static func make(seed: [UInt8], spiffeID: SPIFFEID) throws(CertificateError) -> [UInt8] {
        let publicKey = try Ed25519Key.publicKey(seed: seed)
        return try SignedStructure.decoding("a new request") {
            let role: CertificateTemplate.Role =
                spiffeID.namesAuthority ? .authority(pathLength: 0) : .leaf
            let entries =
                try CertificateTemplate.usage(role)
                + [CertificateTemplate.alternativeNames(spiffeID, [], critical: false)]
            let subject = try DistinguishedName.forKey(publicKey, role: "RAP request")
            return try SignedStructure.sign(seed: seed) { coder in
                try coder.serialize(0)
                coder.serializeRawBytes(subject)
                try SubjectPublicKeyInfo.serialize(publicKey, into: &coder)
                try coder.appendConstructedNode(identifier: .context(0)) { coder in
                    try coder.appendConstructedNode(identifier: .sequence) { coder in
                        try coder.serialize(extensionRequest)
                        try coder.appendConstructedNode(identifier: .set) {
                            try $0.serializeSequenceOf(entries)
                        }
                    }
                }
            }
        }
    }

    /// Verifies the request's signature and what the rules want of every request: at most one URI, a SPIFFE ID, and an
    /// authority only for a bare trust domain. Whether the requester may have that ID is for the caller to judge.
    static func inspect(_ der: [UInt8]) throws(CertificateError) -> CertificateRequestFacts {
        let (publicKey, extensions) = try SignedStructure.decoding("a certificate request") {
            try decode(der)
        }
        guard extensions.uris.count <= 1 else { throw .violates("a request asks for one URI at most") }
        let spiffeIDs = extensions.uris.compactMap { SPIFFEID($0) }
        guard spiffeIDs.count == extensions.uris.count else {
            throw .violates("its URI is not a SPIFFE ID")
        }
        guard (extensions.alternativeNames?.others ?? 0) == 0 else {
            throw .violates("a request asks for a URI and for no other names; ours would not carry them")
        }
        guard !extensions.unprocessed else {
            throw .violates("a request for an extension that is not supported")
        }
        let signsCertificates =
            !(extensions.keyUsage?.bits.isDisjoint(with: [.keyCertSign, .cRLSign]) ?? true)
        let asksForAuthority = extensions.isAuthority || signsCertificates
        guard spiffeIDs.allSatisfy({ $0.namesAuthority == asksForAuthority }) else {
            throw .violates(
                asksForAuthority
                    ? "an authority is named by its bare trust domain" : "a leaf is named by a path")
        }
        return CertificateRequestFacts(
            publicKey: publicKey, spiffeIDs: spiffeIDs.map(\.text), asksForAuthority: asksForAuthority)
    }

    private static func decode(_ der: [UInt8]) throws -> ([UInt8], CertificateExtensions) {
        // The key is looked at before the signature's algorithm, so that a request with an RSA key hears about its key.
        let root = try DER.parse(der)
        guard root.identifier == .sequence, case .constructed(let outer) = root.content,
            let information = outer.first(where: { _ in true }), information.identifier == .sequence,
            case .constructed(let children) = information.content
        else { throw CertificateError.malformed("not a certificate request") }
        var nodes = children.makeIterator()
        guard let version = nodes.next(), let subject = nodes.next(), let keyInfo = nodes.next(),
            let attributes = nodes.next(), nodes.next() == nil
        else { throw CertificateError.malformed("a request cut short") }
        guard try Int(derEncoded: version) == 0 else {
            throw CertificateError.malformed("a request of another version")
        }
        _ = try DistinguishedName.decode(subject)
        let publicKey = try SubjectPublicKeyInfo.decode(keyInfo)
        let structure = try SignedStructure(der)
        guard structure.verify(publicKey: publicKey) else { throw CertificateError.badSignature }
        return (publicKey, try requestedExtensions(attributes))
    }

    private static func requestedExtensions(_ attributes: ASN1Node) throws -> CertificateExtensions {
        guard attributes.identifier == .context(0), case .constructed(let list) = attributes.content
        else {
            throw CertificateError.malformed("not the attributes of a request")
        }
        var found: CertificateExtensions?
        var count = 0
        for attribute in list {
            count += 1
            guard count <= maximumAttributes else {
                throw CertificateError.malformed("too many attributes")
            }
            try DER.sequence(attribute, identifier: .sequence) { nodes in
                let type = try ASN1ObjectIdentifier(derEncoded: &nodes)
                guard let set = nodes.next(), set.identifier == .set,
                    case .constructed(let values) = set.content
                else {
                    throw CertificateError.malformed("an attribute without values")
                }
                guard type == extensionRequest else { return }
                var iterator = values.makeIterator()
                guard found == nil, let value = iterator.next(), iterator.next() == nil else {
                    throw CertificateError.malformed("more than one list of extensions")
                }
                found = try CertificateExtensions(value)
            }
        }
        return found ?? CertificateExtensions()
    }
}
