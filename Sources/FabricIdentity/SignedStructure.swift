internal import FabricCore
internal import SwiftASN1

/// `SEQUENCE { toBeSigned, AlgorithmIdentifier, BIT STRING }`: the outer form of certificates and of requests.
struct SignedStructure {
    /// A certificate of ours has some 500 bytes.
    static let maximumLength = 16_384

    var toBeSigned: ASN1Node
    var signature: [UInt8]

    init(_ der: [UInt8]) throws {
        guard der.count <= SignedStructure.maximumLength else {
            throw CertificateError.malformed("more than \(SignedStructure.maximumLength) bytes")
        }
        self = try DER.sequence(DER.parse(der), identifier: .sequence) { nodes in
            guard let toBeSigned = nodes.next(), let algorithm = nodes.next(),
                let signature = nodes.next()
            else {
                throw CertificateError.malformed("not a signed structure")
            }
            guard try AlgorithmIdentifier(algorithm).isEd25519 else {
                throw CertificateError.unsupportedKey("signed with another algorithm than Ed25519")
            }
            let bits = try ASN1BitString(derEncoded: signature)
            guard bits.paddingBits == 0, bits.bytes.count == Ed25519Key.signatureLength else {
                throw CertificateError.malformed("an Ed25519 signature has 64 bytes")
            }
            return SignedStructure(toBeSigned: toBeSigned, signature: Array(bits.bytes))
        }
    }

    private init(toBeSigned: ASN1Node, signature: [UInt8]) {
        self.toBeSigned = toBeSigned
        self.signature = signature
    }

    func verify(publicKey: [UInt8]) -> Bool {
        Ed25519Key.verify(publicKey: publicKey, signature: signature, toBeSigned.encodedBytes)
    }

    /// Signs what `body` writes.
    static func sign(seed: [UInt8], _ body: (inout DER.Serializer) throws -> Void) throws -> [UInt8] {
        var inner = DER.Serializer()
        try inner.appendConstructedNode(identifier: .sequence, body)
        let toBeSigned = inner.serializedBytes
        let signature = try Ed25519Key.sign(seed: seed, toBeSigned)
        var outer = DER.Serializer()
        try outer.appendConstructedNode(identifier: .sequence) { coder in
            coder.serializeRawBytes(toBeSigned)
            try AlgorithmIdentifier.ed25519.serialize(into: &coder)
            try coder.serialize(ASN1BitString(bytes: signature[...]))
        }
        return outer.serializedBytes
    }

    /// Turns the errors of the DER parser, whose texts name its own source lines, into ours.
    static func decoding<Result>(_ what: String, _ body: () throws -> Result) throws(CertificateError)
        -> Result
    {
        do {
            return try body()
        } catch let error as CertificateError {
            throw error
        } catch {
            throw .malformed("not the DER of \(what)")
        }
    }
}

/// `SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }`
struct AlgorithmIdentifier {
    static let ed25519 = AlgorithmIdentifier(algorithm: Ed25519Key.algorithm, hasParameters: false)

    var algorithm: ASN1ObjectIdentifier
    var hasParameters: Bool

    /// RFC 8410 section 3: the parameters are absent.
    var isEd25519: Bool { algorithm == Ed25519Key.algorithm && !hasParameters }

    /// What people call the kind of key.
    var keyName: String {
        switch algorithm {
        case [1, 2, 840, 113549, 1, 1, 1]: "RSA"
        case [1, 2, 840, 10045, 2, 1]: "elliptic curve (ECDSA)"
        case [1, 3, 101, 110]: "X25519"
        case [1, 3, 101, 113]: "Ed448"
        default: "another algorithm"
        }
    }

    init(algorithm: ASN1ObjectIdentifier, hasParameters: Bool) {
        self.algorithm = algorithm
        self.hasParameters = hasParameters
    }

    init(_ node: ASN1Node) throws {
        self = try DER.sequence(node, identifier: .sequence) { nodes in
            let algorithm = try ASN1ObjectIdentifier(derEncoded: &nodes)
            return AlgorithmIdentifier(algorithm: algorithm, hasParameters: nodes.next() != nil)
        }
    }

    func serialize(into coder: inout DER.Serializer) throws {
        try coder.appendConstructedNode(identifier: .sequence) { try $0.serialize(algorithm) }
    }
}

/// `SEQUENCE { AlgorithmIdentifier, BIT STRING }`
enum SubjectPublicKeyInfo {
    static func decode(_ node: ASN1Node) throws -> [UInt8] {
        try DER.sequence(node, identifier: .sequence) { nodes in
            guard let algorithm = nodes.next(), let key = nodes.next() else {
                throw CertificateError.malformed("not a public key")
            }
            let identifier = try AlgorithmIdentifier(algorithm)
            guard identifier.isEd25519 else {
                throw CertificateError.unsupportedKey("\(identifier.keyName); identities use Ed25519")
            }
            let bits = try ASN1BitString(derEncoded: key)
            guard bits.paddingBits == 0 else { throw CertificateError.malformed("a key with loose bits") }
            let publicKey = Array(bits.bytes)
            try Ed25519Key.check(publicKey: publicKey)
            return publicKey
        }
    }

    static func serialize(_ publicKey: [UInt8], into coder: inout DER.Serializer) throws {
        try coder.appendConstructedNode(identifier: .sequence) { coder in
            try AlgorithmIdentifier.ed25519.serialize(into: &coder)
            try coder.serialize(ASN1BitString(bytes: publicKey[...]))
        }
    }
}

/// `Name`, kept as its DER: issuer and subject are compared byte by byte, which is stricter than RFC 5280 section 7.1.
enum DistinguishedName {
    static let empty: [UInt8] = [0x30, 0]

    /// One common name. Ours carry a role and the key's identifier, so that no two authorities share a name.
    static func commonName(_ text: String) throws -> [UInt8] {
        var coder = DER.Serializer()
        try coder.appendConstructedNode(identifier: .sequence) { coder in
            try coder.appendConstructedNode(identifier: .set) { coder in
                try coder.appendConstructedNode(identifier: .sequence) { coder in
                    try coder.serialize([2, 5, 4, 3] as ASN1ObjectIdentifier)
                    try coder.serialize(ASN1UTF8String(text))
                }
            }
        }
        return coder.serializedBytes
    }

    static func forKey(_ publicKey: [UInt8], role: String) throws -> [UInt8] {
        try commonName("\(role) \(Hex.encode(Ed25519Key.identifier(publicKey: publicKey).prefix(8)))")
    }

    static func decode(_ node: ASN1Node) throws -> [UInt8] {
        guard node.identifier == .sequence else { throw CertificateError.malformed("not a name") }
        return Array(node.encodedBytes)
    }
}
