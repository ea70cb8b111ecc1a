import FabricCore
import FabricCrypto
import FabricDocument
import FabricTestSupport
import Testing

@testable import FabricWire

@Suite struct SignedEnvelopeTests {
    let cryptography: any Cryptography = SystemCryptography()
    let seeds = (1...4).map { [UInt8](repeating: UInt8($0), count: 32) }
    let document = PeerRecord(
        cluster: ClusterID("alpha")!, node: NodeID("n1")!, sequence: 7, endpoints: [Endpoint("192.0.2.1:51820")!],
        lifetimeSeconds: 600)

    func keys(_ indices: Int...) throws -> [[UInt8]] {
        try indices.map { try cryptography.ed25519PublicKey(seed: seeds[$0]) }
    }

    func signed(by indices: Int...) throws -> SignedEnvelope {
        try .sign(document, seeds: indices.map { seeds[$0] }, cryptography)
    }

    func open(_ envelope: SignedEnvelope, _ keys: [[UInt8]], threshold: Int = 1) -> Result<PeerRecord, EnvelopeError> {
        Result { () throws(EnvelopeError) in
            try envelope.open(PeerRecord.self, keys: keys, threshold: threshold, cryptography)
        }
    }

    @Test func `the pre-authentication encoding is that of the DSSE specification`() {
        let encoded = SignedEnvelope.preAuthenticationEncoding(
            type: "http://example.com/HelloWorld", payload: Array("hello world".utf8))
        #expect(String(decoding: encoded, as: UTF8.self) == "DSSEv1 29 http://example.com/HelloWorld 11 hello world")
    }

    @Test func `lengths are counted in bytes`() {
        let encoded = SignedEnvelope.preAuthenticationEncoding(type: "é", payload: Array("ü".utf8))
        #expect(String(decoding: encoded, as: UTF8.self) == "DSSEv1 2 é 2 ü")
    }

    @Test func `what was signed is opened with the signer's key`() throws {
        #expect(open(try signed(by: 0), try keys(0)) == .success(document))
        #expect(open(try signed(by: 2), try keys(0, 1, 2)) == .success(document))
    }

    @Test func `unknown keys don't count`() throws {
        #expect(open(try signed(by: 1), try keys(0)) == .failure(.notSigned(valid: 0, needed: 1)))
        #expect(open(try signed(by: 1), []) == .failure(.notSigned(valid: 0, needed: 1)))
        #expect(open(try signed(by: 1, 0), try keys(0)) == .success(document))
    }

    @Test func `a threshold counts different keys`() throws {
        let all = try keys(0, 1, 2)
        #expect(open(try signed(by: 0, 1), all, threshold: 2) == .success(document))
        #expect(open(try signed(by: 0), all, threshold: 2) == .failure(.notSigned(valid: 1, needed: 2)))
        #expect(open(try signed(by: 0, 0, 0), all, threshold: 2) == .failure(.notSigned(valid: 1, needed: 2)))
        #expect(open(try signed(by: 0, 3), all, threshold: 2) == .failure(.notSigned(valid: 1, needed: 2)))
        let same = try keys(0, 0)
        #expect(open(try signed(by: 0, 0), same, threshold: 2) == .failure(.notSigned(valid: 1, needed: 2)))
    }

    @Test func `a signature under another key's id does not count for it`() throws {
        var envelope = try signed(by: 1)
        envelope.signatures[0].keyid = SignedEnvelope.keyIdentifier(try keys(0)[0], cryptography)
        #expect(open(envelope, try keys(0, 1)) == .failure(.notSigned(valid: 0, needed: 1)))
    }

    @Test func `one changed byte of payload or signature is noticed`() throws {
        let envelope = try signed(by: 0)
        let all = try keys(0)
        for index in envelope.payload.bytes.indices {
            var tampered = envelope
            tampered.payload.bytes[index] ^= 1
            #expect(open(tampered, all) == .failure(.notSigned(valid: 0, needed: 1)))
        }
        for index in envelope.signatures[0].sig.bytes.indices {
            var tampered = envelope
            tampered.signatures[0].sig.bytes[index] ^= 0x10
            #expect(open(tampered, all) == .failure(.notSigned(valid: 0, needed: 1)))
        }
        for length in 0..<64 {
            var tampered = envelope
            tampered.signatures[0].sig.bytes.removeLast(64 - length)
            #expect(open(tampered, all) == .failure(.notSigned(valid: 0, needed: 1)))
        }
    }

    @Test func `a document of another type is refused before its signatures are looked at`() throws {
        var envelope = try signed(by: 0)
        envelope.payloadType = Snapshot.payloadType
        #expect(
            open(envelope, try keys(0))
                == .failure(.wrongType(found: Snapshot.payloadType, expected: PeerRecord.payloadType)))
        // The type is signed too: the right name on another document's signature does not help.
        struct Other: SignedDocument, Equatable {
            static var payloadType: String { "application/vnd.rap.other+json" }
            var cluster: String
        }
        var other = try SignedEnvelope.sign(Other(cluster: "alpha"), seeds: [seeds[0]], cryptography)
        other.payloadType = PeerRecord.payloadType
        #expect(open(other, try keys(0)) == .failure(.notSigned(valid: 0, needed: 1)))
        #expect(throws: EnvelopeError.self) { try envelope.unverified(PeerRecord.self) }
    }

    @Test func `more signatures than the limit are refused`() throws {
        var envelope = try signed(by: 0)
        let one = envelope.signatures[0]
        envelope.signatures = Array(repeating: one, count: SignedEnvelope.maximumSignatures)
        #expect(open(envelope, try keys(0)) == .success(document))
        envelope.signatures.append(one)
        #expect(open(envelope, try keys(0)) == .failure(.tooManySignatures))
    }

    @Test func `a signed payload that is no such document is malformed`() throws {
        struct Impostor: SignedDocument {
            static var payloadType: String { PeerRecord.payloadType }
            var nothing = true
        }
        let envelope = try SignedEnvelope.sign(Impostor(), seeds: [seeds[0]], cryptography)
        guard case .failure(.malformed) = open(envelope, try keys(0)) else {
            Issue.record("it was opened, or refused for another reason")
            return
        }
    }

    @Test func `mutated envelopes are refused or say what was signed`() throws {
        let valid = JSON.encodeOwn(try signed(by: 0, 1))
        let all = try keys(0, 1)
        var opened = 0
        try Fuzz.run(corpus: [valid], seed: 11, iterations: 1_500) { bytes in
            guard let envelope = try? JSON.decode(SignedEnvelope.self, from: bytes) else { return }
            _ = try? envelope.unverified(PeerRecord.self)
            guard case .success(let found) = open(envelope, all) else { return }
            opened += 1
            #expect(found == document)
        }
        #expect(opened > 0)
    }

    @Test func `the documents that travel signed survive mutation without a trap`() throws {
        let trust = TrustMetadata(
            cluster: document.cluster, version: 1, rootCertificate: Blob([1, 2]), approverKeys: [Blob(try keys(0)[0])],
            approvalThreshold: 1, snapshotKeys: [Blob(try keys(1)[0])])
        let admission = Admission(
            cluster: document.cluster, node: document.node, name: "a", identityKey: Blob(try keys(2)[0]),
            tunnelKeys: [TunnelKey(domain: .fabric, publicKey: Blob(try keys(3)[0]))], approvedAt: 1_800_000_000)
        let snapshot = Snapshot(
            cluster: document.cluster, audience: document.node, version: 3, authorityTerm: 1,
            previousHash: Blob([UInt8](repeating: 1, count: 32)), issuedAt: 1, refreshAfter: 2, hardExpiry: 3,
            members: [try .sign(admission, seeds: [seeds[0]], cryptography)],
            domains: [.init(id: .fabric, peers: [document.node])])
        let corpus = [
            JSON.encodeOwn(trust), JSON.encodeOwn(admission), JSON.encodeOwn(snapshot), JSON.encodeOwn(document),
        ]
        func check<Document: Codable & Equatable>(_ type: Document.Type, _ bytes: [UInt8]) throws {
            guard let parsed = try? JSON.decode(type, from: bytes) else { return }
            #expect(try JSON.decode(type, from: JSON.encodeOwn(parsed)) == parsed)
        }
        try Fuzz.run(corpus: corpus, seed: 12, iterations: 800) { bytes in
            try check(TrustMetadata.self, bytes)
            try check(Admission.self, bytes)
            try check(Snapshot.self, bytes)
            try check(PeerRecord.self, bytes)
        }
    }
}
