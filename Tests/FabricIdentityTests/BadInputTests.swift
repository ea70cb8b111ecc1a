import FabricCore
import FabricTestSupport
import SwiftASN1
import Testing

@testable import FabricIdentity

/// Bytes from outside: every one of these calls returns, and what is accepted is what was made.
@Suite struct BadInputTests {
    @Test("Every truncation is refused, and every byte that follows")
    func truncations() throws {
        let fixture = try Fixture()
        let request = try fixture.identity.makeRequest(seed: fixture.leafSeed, spiffeID: fixture.leafID)
        for length in 0..<fixture.leaf.count {
            #expect(throws: CertificateError.self) {
                try fixture.identity.inspect(Array(fixture.leaf[..<length]))
            }
        }
        for length in 0..<request.count {
            #expect(throws: CertificateError.self) {
                try fixture.identity.inspectRequest(Array(request[..<length]))
            }
        }
        #expect(throws: CertificateError.self) { try fixture.identity.inspect(fixture.leaf + [0]) }
        #expect(throws: CertificateError.self) { try fixture.identity.inspectRequest(request + [0]) }
        #expect(throws: CertificateError.self) { try fixture.identity.inspect(request) }
        #expect(throws: CertificateError.self) { try fixture.identity.inspectRequest(fixture.leaf) }
    }

    @Test("Every flipped bit of a request, a leaf or an authority is refused")
    func flippedBits() throws {
        let fixture = try Fixture()
        let request = try fixture.identity.makeRequest(seed: fixture.leafSeed, spiffeID: fixture.leafID)
        for bit in 0..<request.count * 8 {
            var bytes = request
            bytes[bit / 8] ^= 1 << (bit % 8)
            #expect(throws: CertificateError.self, "bit \(bit)") {
                try fixture.identity.inspectRequest(bytes)
            }
        }
        for bit in 0..<fixture.leaf.count * 8 {
            var bytes = fixture.leaf
            bytes[bit / 8] ^= 1 << (bit % 8)
            #expect(fixture.refusal([bytes, fixture.issuing]) != nil, "bit \(bit)")
        }
        for bit in 0..<fixture.issuing.count * 8 {
            var bytes = fixture.issuing
            bytes[bit / 8] ^= 1 << (bit % 8)
            #expect(fixture.refusal([fixture.leaf, bytes]) != nil, "bit \(bit)")
        }
    }

    @Test("Ten thousand mutations trap nowhere and pass nowhere")
    func mutations() throws {
        let fixture = try Fixture()
        let request = try fixture.identity.makeRequest(seed: fixture.leafSeed, spiffeID: fixture.leafID)
        let sources = [fixture.leaf, fixture.issuing, fixture.root, request]
        try Fuzz.run(corpus: sources, cost: 20, seed: 11, iterations: 10_000) { bytes in
            guard !sources.contains(bytes) else { return }
            // A mutated certificate may say anything; it only must not trap. Its chain must not hold.
            _ = try? fixture.identity.inspect(bytes)
            #expect(throws: CertificateError.self) { try fixture.identity.inspectRequest(bytes) }
            #expect(fixture.refusal([bytes, fixture.issuing]) != nil)
            #expect(fixture.refusal([fixture.leaf, bytes]) != nil)
            _ = fixture.refusal([fixture.leaf, fixture.issuing], roots: [bytes])
        }
    }

    @Test("Requests made of mutated parts and signed afresh trap nowhere")
    func signedMutations() throws {
        let identity = X509Identity()
        let request = try identity.makeRequest(
            seed: Fixture.seed(3), spiffeID: "spiffe://north.rap/node/a1")
        let information = Array(try SignedStructure(request).toBeSigned.encodedBytes)
        var accepted = 0
        try Fuzz.run(corpus: [information], cost: 5, seed: 12, iterations: 4_000) { bytes in
            let signature = try Ed25519Key.sign(seed: Fixture.seed(3), bytes)
            let whole = try encoded { coder in
                try coder.appendConstructedNode(identifier: .sequence) { coder in
                    coder.serializeRawBytes(bytes)
                    try AlgorithmIdentifier.ed25519.serialize(into: &coder)
                    try coder.serialize(ASN1BitString(bytes: signature[...]))
                }
            }
            if let facts = try? identity.inspectRequest(whole) {
                accepted += 1
                #expect(facts.spiffeIDs.allSatisfy { SPIFFEID($0) != nil })
            }
        }
        #expect(accepted > 0)
    }

    @Test("Garbage is refused")
    func garbage() throws {
        let identity = X509Identity()
        // The outermost header is right, so that what follows is read.
        let long = SeededRandom(seed: 13, stream: "garbage").bytes(400)
        try Fuzz.run(corpus: [long], seed: 13, iterations: 2_000) { noise in
            let header = [0x30, 0x82, UInt8(noise.count >> 8 & 255), UInt8(noise.count & 255)]
            for bytes in [noise, header + noise] {
                #expect(throws: CertificateError.self) { try identity.inspect(bytes) }
                #expect(throws: CertificateError.self) { try identity.inspectRequest(bytes) }
            }
        }
        // Nesting far deeper than any certificate.
        let deep = (0..<4_000).reduce(into: [UInt8]()) { bytes, _ in bytes += [0x30, 0x80] }
        #expect(throws: CertificateError.self) { try identity.inspect(deep) }
    }

    @Test("A request that asks for what it may not is refused")
    func forgedRequests() throws {
        let identity = X509Identity()
        let leaf = try CertificateTemplate.usage(.leaf)
        let authority = try CertificateTemplate.usage(.authority(pathLength: 0))
        let id = ForgedCertificate.names(["spiffe://north.rap/node/a1"])
        #expect(
            try identity.inspectRequest(request(leaf + [id])).spiffeIDs == ["spiffe://north.rap/node/a1"])
        #expect(try identity.inspectRequest(request([])).spiffeIDs == [])
        let refused: [[CertificateExtensions.Entry]] = [
            authority + [id],
            [authority[1], id],
            leaf + [ForgedCertificate.names(["spiffe://north.rap"])],
            leaf + [ForgedCertificate.names(["spiffe://north.rap/a", "spiffe://north.rap/b"])],
            leaf + [ForgedCertificate.names(["https://north.rap/a"])],
            leaf + [id, id],
            leaf + [id, .init([1, 2, 3], critical: true, [5, 0])],
        ]
        for entries in refused {
            #expect(throws: CertificateError.self) { try identity.inspectRequest(request(entries)) }
        }
    }

    @Test("A key of small order proves possession of nothing and is refused")
    func smallOrder() {
        for y in ["00", "01"] {
            let key = Hex.decode(y)! + [UInt8](repeating: 0, count: 31)
            for sign: UInt8 in [0, 0x80] {
                var signed = key
                signed[31] |= sign
                #expect(throws: CertificateError.unsupportedKey("an Ed25519 point of small order")) {
                    try Ed25519Key.check(publicKey: signed)
                }
            }
        }
    }

    private func request(_ entries: [CertificateExtensions.Entry]) throws -> [UInt8] {
        try SignedStructure.sign(seed: Fixture.seed(3)) { coder in
            try coder.serialize(0)
            coder.serializeRawBytes(DistinguishedName.empty)
            try SubjectPublicKeyInfo.serialize(Ed25519Key.publicKey(seed: Fixture.seed(3)), into: &coder)
            try coder.appendConstructedNode(identifier: .context(0)) { coder in
                guard !entries.isEmpty else { return }
                try coder.appendConstructedNode(identifier: .sequence) { coder in
                    try coder.serialize([1, 2, 840, 113549, 1, 9, 14] as ASN1ObjectIdentifier)
                    try coder.appendConstructedNode(identifier: .set) { try $0.serializeSequenceOf(entries) }
                }
            }
        }
    }
}
