public import FabricCore
internal import FabricDocument

/// A signed document: DSSE v1.0.2 (<https://github.com/secure-systems-lab/dsse>) with Ed25519 signatures.
///
/// A key id is the SHA-256 of the public key, in hex. Payloads are JSON; what was signed is what is parsed.
public struct SignedEnvelope: Hashable, Sendable, Codable {
    public var payload: Blob
    public var payloadType: String
    public var signatures: [Signature]

    public struct Signature: Hashable, Sendable, Codable {
        public var keyid: String
        public var sig: Blob
    }

    /// The most signatures that a reader looks at.
    public static let maximumSignatures = 16

    /// DSSE's pre-authentication encoding.
    static func preAuthenticationEncoding(type: String, payload: [UInt8]) -> [UInt8] {
        if planted(.payloadTypeUnsigned) { return payload }
        return Array("DSSEv1 \(type.utf8.count) \(type) \(payload.count) ".utf8) + payload
    }

    /// Signs a document of ours. The seeds are Ed25519's.
    public static func sign<Document: SignedDocument>(
        _ document: Document, seeds: [[UInt8]], _ cryptography: any Cryptography
    ) throws(CryptographyError) -> SignedEnvelope {
        let payload = JSON.encodeOwn(document)
        let message = preAuthenticationEncoding(type: Document.payloadType, payload: payload)
        var signatures: [Signature] = []
        for seed in seeds {
            let key = try cryptography.ed25519PublicKey(seed: seed)
            signatures.append(
                Signature(
                    keyid: keyIdentifier(key, cryptography),
                    sig: Blob(try cryptography.ed25519Sign(seed: seed, message))))
        }
        return SignedEnvelope(payload: Blob(payload), payloadType: Document.payloadType, signatures: signatures)
    }

    /// Verifies that at least `threshold` different keys of `keys` signed, then parses.
    public func open<Document: SignedDocument>(
        _ type: Document.Type, keys: [[UInt8]], threshold: Int, _ cryptography: any Cryptography
    ) throws(EnvelopeError) -> Document {
        precondition(threshold >= 1)
        guard payloadType == Document.payloadType else {
            throw .wrongType(found: payloadType, expected: Document.payloadType)
        }
        guard signatures.count <= Self.maximumSignatures else { throw .tooManySignatures }
        let message = Self.preAuthenticationEncoding(type: payloadType, payload: payload.bytes)
        var signers: Set<[UInt8]> = []
        for signature in signatures {
            guard let key = keys.first(where: { Self.keyIdentifier($0, cryptography) == signature.keyid }) else {
                continue
            }
            if cryptography.ed25519Verify(publicKey: key, signature: signature.sig.bytes, message) {
                signers.insert(key)
            }
        }
        guard signers.count >= threshold || planted(.thresholdIgnored) else {
            throw .notSigned(valid: signers.count, needed: threshold)
        }
        return try parse(type)
    }

    private func parse<Document: SignedDocument>(_ type: Document.Type) throws(EnvelopeError) -> Document {
        let limits = DocumentLimits(maximumBytes: Document.maximumBytes)
        do { return try JSON.decode(type, from: payload.bytes, limits: limits) } catch {
            throw .malformed("\(error)")
        }
    }

    /// What the payload says, with nothing verified: to show it to a person, or to learn whose key to look up.
    public func unverified<Document: SignedDocument>(_ type: Document.Type) throws(EnvelopeError) -> Document {
        guard payloadType == Document.payloadType else {
            throw .wrongType(found: payloadType, expected: Document.payloadType)
        }
        return try parse(type)
    }

    public static func keyIdentifier(_ publicKey: [UInt8], _ cryptography: any Cryptography) -> String {
        Hex.encode(cryptography.sha256(publicKey))
    }

    /// SHA-256 of the payload, which the next document of a chain names.
    public func payloadHash(_ cryptography: any Cryptography) -> Blob { Blob(cryptography.sha256(payload.bytes)) }
}

/// A JSON document that travels signed, under a media type of its own, so that no signature serves two purposes.
public protocol SignedDocument: Codable {
    static var payloadType: String { get }
    /// The largest payload that a reader takes; 1 MiB unless the document says otherwise.
    static var maximumBytes: Int { get }
}

extension SignedDocument {
    public static var maximumBytes: Int { DocumentLimits.default.maximumBytes }
}

public enum EnvelopeError: Error, Hashable, Sendable, CustomStringConvertible {
    case wrongType(found: String, expected: String)
    case tooManySignatures
    case notSigned(valid: Int, needed: Int)
    case malformed(String)

    public var description: String {
        switch self {
        case .wrongType(let found, let expected): "it is a \(found), not a \(expected)"
        case .tooManySignatures: "it has more than \(SignedEnvelope.maximumSignatures) signatures"
        case .notSigned(let valid, let needed): "it has \(valid) valid signature(s) of trusted keys; \(needed) needed"
        case .malformed(let what): "its payload is malformed: \(what)"
        }
    }
}
