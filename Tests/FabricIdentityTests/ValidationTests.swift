import FabricCore
import SwiftASN1
import Testing

@testable import FabricIdentity

@Suite struct ValidationTests {
    typealias Spoil = @Sendable (inout ForgedCertificate) throws -> Void

    static func usage(_ first: UInt8, padding: Int, critical: Bool = true) throws
        -> CertificateExtensions.Entry
    {
        .init(
            .keyUsage, critical: critical,
            try encoded { try $0.serialize(ASN1BitString(bytes: [first], paddingBits: padding)) })
    }

    static func extendedUsage(_ usages: [ASN1ObjectIdentifier]) throws -> CertificateExtensions.Entry {
        .init(.extendedKeyUsage, critical: false, try encoded { try $0.serializeSequenceOf(usages) })
    }

    static let spoiltLeaves: [(String, Spoil)] = [
        (
            "version 1",
            {
                $0.version = nil
                $0.entries = []
            }
        ),
        ("version 2", { $0.version = 1 }),
        ("no extensions", { $0.entries = [] }),
        (
            "a CA as leaf",
            {
                $0.replace(
                    .basicConstraints, with: try CertificateTemplate.usage(.authority(pathLength: 0))[0])
            }
        ),
        ("keyCertSign", { $0.replace(.keyUsage, with: try usage(0x84, padding: 2)) }),
        ("cRLSign", { $0.replace(.keyUsage, with: try usage(0x82, padding: 1)) }),
        ("no digitalSignature", { $0.replace(.keyUsage, with: try usage(0x20, padding: 5)) }),
        ("empty key usage", { $0.replace(.keyUsage, with: try usage(0, padding: 0)) }),
        (
            "key usage not critical",
            { $0.replace(.keyUsage, with: try usage(0x80, padding: 7, critical: false)) }
        ),
        ("no key usage", { $0.replace(.keyUsage, with: nil) }),
        ("empty extended key usage", { $0.replace(.extendedKeyUsage, with: try extendedUsage([])) }),
        ("serverAuth alone", { $0.replace(.extendedKeyUsage, with: try extendedUsage([.serverAuth])) }),
        ("no alternative name", { $0.replace(.subjectAlternativeName, with: nil) }),
        (
            "two URIs",
            {
                $0.replace(
                    .subjectAlternativeName,
                    with: ForgedCertificate.names([
                        "spiffe://north.rap/node/a1", "spiffe://north.rap/node/a2",
                    ]))
            }
        ),
        ("no URI", { $0.replace(.subjectAlternativeName, with: ForgedCertificate.names([])) }),
        (
            "a web address",
            {
                $0.replace(.subjectAlternativeName, with: ForgedCertificate.names(["https://north.rap/a"]))
            }
        ),
        (
            "a bare trust domain",
            { $0.replace(.subjectAlternativeName, with: ForgedCertificate.names(["spiffe://north.rap"])) }
        ),
        (
            "a foreign trust domain",
            {
                $0.replace(
                    .subjectAlternativeName, with: ForgedCertificate.names(["spiffe://south.rap/node/a1"]))
            }
        ),
        (
            "an unknown critical extension",
            { $0.entries.append(.init([1, 2, 3, 4], critical: true, [5, 0])) }
        ),
        (
            "name constraints",
            { $0.entries.append(.init(.nameConstraints, critical: false, [0x30, 0])) }
        ),
        ("an extension twice", { $0.entries.append($0.entries[0]) }),
        ("an empty subject without a critical name", { $0.subject = DistinguishedName.empty }),
        ("two signature algorithms", { $0.innerAlgorithm = [1, 3, 101, 113] }),
        ("no serial number", { $0.serial = [] }),
        ("a serial number of 21 bytes", { $0.serial = [UInt8](repeating: 1, count: 21) }),
        ("trailing bytes in an extension", { $0.entries[0].value += [0] }),
    ]

    @Test("A leaf that breaks a rule is refused", arguments: spoiltLeaves.indices)
    func spoiltLeaf(_ index: Int) throws {
        let fixture = try Fixture()
        var forged = try ForgedCertificate(leafUnder: fixture.issuing, uris: [fixture.leafID])
        #expect(fixture.refusal([try forged.sign(fixture.issuingSeed), fixture.issuing]) == nil)
        try Self.spoiltLeaves[index].1(&forged)
        let refusal = fixture.refusal([try forged.sign(fixture.issuingSeed), fixture.issuing])
        #expect(refusal != nil, "\(Self.spoiltLeaves[index].0)")
        #expect(refusal != .badSignature && refusal != .untrustedRoot, "\(Self.spoiltLeaves[index].0)")
    }

    @Test("What the rules leave open is accepted")
    func lenientLeaves() throws {
        let fixture = try Fixture()
        let accepted: [Spoil] = [
            { $0.entries.append(.init([1, 2, 3, 4], critical: false, [5, 0])) },
            { $0.replace(.extendedKeyUsage, with: nil) },
            { $0.replace(.basicConstraints, with: nil) },
            {
                $0.subject = DistinguishedName.empty
                $0.replace(
                    .subjectAlternativeName,
                    with: ForgedCertificate.names(["spiffe://north.rap/a"], critical: true))
            },
        ]
        for spoil in accepted {
            var forged = try ForgedCertificate(leafUnder: fixture.issuing, uris: [fixture.leafID])
            try spoil(&forged)
            #expect(fixture.refusal([try forged.sign(fixture.issuingSeed), fixture.issuing]) == nil)
        }
    }

    static let spoiltAuthorities: [(String, Spoil)] = [
        (
            "no authority",
            { $0.replace(.basicConstraints, with: try CertificateTemplate.usage(.leaf)[0]) }
        ),
        ("constraints not critical", { $0.entries[0].critical = false }),
        ("no constraints", { $0.replace(.basicConstraints, with: nil) }),
        ("no keyCertSign", { $0.replace(.keyUsage, with: try usage(0x80, padding: 7)) }),
        (
            "key usage not critical",
            { $0.replace(.keyUsage, with: try usage(0x06, padding: 1, critical: false)) }
        ),
        ("no key usage", { $0.replace(.keyUsage, with: nil) }),
        (
            "a foreign trust domain",
            { $0.replace(.subjectAlternativeName, with: ForgedCertificate.names(["spiffe://south.rap"])) }
        ),
        (
            "a path in its name",
            {
                $0.replace(.subjectAlternativeName, with: ForgedCertificate.names(["spiffe://north.rap/a"]))
            }
        ),
        ("no name", { $0.replace(.subjectAlternativeName, with: nil) }),
        ("clientAuth alone", { $0.entries.append(try extendedUsage([.clientAuth])) }),
        (
            "an unknown critical extension",
            { $0.entries.append(.init([1, 2, 3, 4], critical: true, [5, 0])) }
        ),
        (
            "name constraints", { $0.entries.append(.init(.nameConstraints, critical: true, [0x30, 0])) }
        ),
        ("an empty subject", { $0.subject = DistinguishedName.empty }),
    ]

    @Test(
        "A leaf under an authority that breaks a rule is refused", arguments: spoiltAuthorities.indices)
    func spoiltAuthority(_ index: Int) throws {
        let fixture = try Fixture()
        var forged = try ForgedCertificate(
            authorityUnder: fixture.root, trustDomain: "north.rap", pathLength: 0, seed: Fixture.seed(8))
        func refusal() throws -> CertificateError? {
            let authority = try forged.sign(fixture.rootSeed)
            let leaf = try ForgedCertificate(leafUnder: authority, uris: [fixture.leafID]).sign(
                Fixture.seed(8))
            return fixture.refusal([leaf, authority])
        }
        #expect(try refusal() == nil)
        try Self.spoiltAuthorities[index].1(&forged)
        #expect(try refusal() != nil, "\(Self.spoiltAuthorities[index].0)")
    }

    @Test(
        "Every certificate of the chain must be valid at the time, the first and last instant included")
    func time() throws {
        let fixture = try Fixture()
        let nanosecond = Duration.nanoseconds(1)
        let end = Fixture.threeDays.upperBound
        #expect(fixture.refusal(time: Fixture.start) == nil)
        #expect(fixture.refusal(time: Fixture.start - nanosecond) == .notYetValid(Fixture.start))
        #expect(fixture.refusal(time: end - nanosecond) == nil)
        #expect(fixture.refusal(time: end) == .expired(end))
        #expect(fixture.refusal(time: WallTime(nanoseconds: .max)) != nil)
        #expect(fixture.refusal(time: WallTime(nanoseconds: .min)) != nil)
        // The leaf outlives its issuer.
        let leaf = try fixture.identity.issueLeaf(
            issuer: fixture.issuing, issuerSeed: fixture.issuingSeed,
            publicKey: Ed25519Key.publicKey(seed: fixture.leafSeed), spiffeID: fixture.leafID,
            dnsNames: [], serial: [4],
            validity: Fixture.start..<(Fixture.start + .hours(24 * 800)))
        #expect(
            fixture.refusal([leaf, fixture.issuing], time: Fixture.start + .hours(24 * 400))
                == .expired(Fixture.year.upperBound))
    }

    @Test("A certificate without end of validity (RFC 5280 section 4.1.2.5) does not trap")
    func endless() throws {
        let fixture = try Fixture()
        var forged = try ForgedCertificate(leafUnder: fixture.issuing, uris: [fixture.leafID])
        forged.validity.1 = WallTime(nanoseconds: .max)
        #expect(fixture.refusal([try forged.sign(fixture.issuingSeed), fixture.issuing]) == nil)
        #expect(CertificateTime(seconds: 253_402_300_799).end == WallTime(nanoseconds: .max))
    }

    @Test("A chain ends at a root that is trusted, or is refused")
    func roots() throws {
        let fixture = try Fixture()
        let south = try Fixture(trustDomain: "south.rap")
        let otherRoot = try fixture.identity.makeRoot(
            seed: Fixture.seed(7), trustDomain: "north.rap", serial: [1], validity: Fixture.year)
        #expect(fixture.refusal(roots: []) == .untrustedRoot)
        #expect(fixture.refusal(roots: [otherRoot]) == .untrustedRoot)
        #expect(fixture.refusal(roots: [otherRoot, south.root, fixture.root]) == nil)
        // The same key and name under another trust domain does not help: the domain stands in the root.
        #expect(
            fixture.refusal(roots: [south.root])
                == .violates("an authority does not name the trust domain north.rap"))
        #expect(fixture.refusal([fixture.leaf]) == .untrustedRoot)
        #expect(fixture.refusal([fixture.leaf, fixture.root]) == .untrustedRoot)
        #expect(fixture.refusal([fixture.leaf, fixture.root, fixture.issuing]) == nil)
        #expect(fixture.refusal([fixture.root]) != nil)
        #expect(fixture.refusal([fixture.issuing]) != nil)
        // An intermediate that is itself trusted is a root.
        #expect(fixture.refusal([fixture.leaf], roots: [fixture.issuing]) == nil)
        // A leaf that is itself trusted is not.
        #expect(fixture.refusal([fixture.leaf], roots: [fixture.leaf]) == .untrustedRoot)
    }

    @Test("A leaf signed by a leaf is refused")
    func leafAsIssuer() throws {
        let fixture = try Fixture()
        let forged = try ForgedCertificate(leafUnder: fixture.leaf, uris: [fixture.leafID]).sign(
            fixture.leafSeed)
        #expect(
            fixture.refusal([forged, fixture.leaf, fixture.issuing])
                == .violates("an issuer is not a certificate authority"))
    }

    @Test("A right name over a wrong key is refused")
    func wrongSignature() throws {
        let fixture = try Fixture()
        let forged = try ForgedCertificate(leafUnder: fixture.issuing, uris: [fixture.leafID]).sign(
            Fixture.seed(66))
        #expect(fixture.refusal([forged, fixture.issuing]) == .badSignature)
    }

    @Test("Path lengths bind: a root of length 1 permits one authority below it")
    func pathLengths() throws {
        let fixture = try Fixture()
        func authority(_ issuer: [UInt8], _ issuerSeed: [UInt8], _ byte: UInt8) throws -> [UInt8] {
            try ForgedCertificate(
                authorityUnder: issuer, trustDomain: "north.rap", pathLength: 5, seed: Fixture.seed(byte)
            ).sign(issuerSeed)
        }
        let first = try authority(fixture.root, fixture.rootSeed, 20)
        let second = try authority(first, Fixture.seed(20), 21)
        let leaf = try ForgedCertificate(leafUnder: second, uris: [fixture.leafID]).sign(
            Fixture.seed(21))
        #expect(
            fixture.refusal([leaf, second, first]) == .violates("an authority's path length is exceeded"))
        #expect(fixture.refusal([leaf, second, first], roots: [first]) == nil)
        // Under the issuing authority, whose length is 0.
        let third = try authority(fixture.issuing, fixture.issuingSeed, 22)
        let other = try ForgedCertificate(leafUnder: third, uris: [fixture.leafID]).sign(
            Fixture.seed(22))
        #expect(
            fixture.refusal([other, third, fixture.issuing])
                == .violates("an authority's path length is exceeded"))
    }

    @Test("Chains, roots and certificates have limits")
    func limits() throws {
        let fixture = try Fixture()
        #expect(fixture.refusal([]) != nil)
        #expect(fixture.refusal([fixture.leaf] + Array(repeating: fixture.issuing, count: 5)) == nil)
        #expect(fixture.refusal([fixture.leaf] + Array(repeating: fixture.issuing, count: 6)) != nil)
        #expect(fixture.refusal(roots: Array(repeating: fixture.root, count: 65)) != nil)
        var long = try ForgedCertificate(leafUnder: fixture.issuing, uris: [fixture.leafID])
        long.entries.append(
            .init(
                [1, 2, 3, 4], critical: false,
                try encoded {
                    try $0.serialize(
                        ASN1OctetString(contentBytes: ArraySlice([UInt8](repeating: 0, count: 20_000))))
                }))
        guard case .malformed = fixture.refusal([try long.sign(fixture.issuingSeed), fixture.issuing])
        else {
            Issue.record("a certificate of 20,000 bytes was accepted")
            return
        }
    }

    @Test("Authorities that sign one another do not make the search long")
    func loops() throws {
        let fixture = try Fixture()
        // Six authorities of one name and one key, each signed by that key: every one fits above every other.
        var authorities: [[UInt8]] = []
        let seed = Fixture.seed(30)
        var forged = try ForgedCertificate(
            authorityUnder: fixture.root, trustDomain: "north.rap", pathLength: 9, seed: seed)
        forged.issuer = try ParsedCertificate(forged.sign(fixture.rootSeed))
        for serial: UInt8 in 1...5 {
            forged.serial = [serial]
            authorities.append(try forged.sign(seed))
        }
        let leaf = try ForgedCertificate(leafUnder: authorities[0], uris: [fixture.leafID]).sign(seed)
        #expect(fixture.refusal([leaf] + authorities) == .untrustedRoot)
    }

    @Test("What the validator remembers changes no answer")
    func memory() throws {
        let fixture = try Fixture()
        for _ in 0..<3 {
            #expect(fixture.refusal() == nil)
            #expect(fixture.refusal(time: Fixture.threeDays.upperBound) != nil)
            var tampered = fixture.leaf
            tampered[tampered.count - 1] ^= 1
            #expect(fixture.refusal([tampered, fixture.issuing]) == .badSignature)
        }
        for serial in 0..<UInt16(ChainValidator.maximumRemembered + 10) {
            var forged = try ForgedCertificate(leafUnder: fixture.issuing, uris: [fixture.leafID])
            forged.serial = [1, UInt8(serial >> 8), UInt8(serial & 255)]
            _ = try fixture.identity.inspect(forged.sign(fixture.issuingSeed))
        }
        #expect(fixture.refusal() == nil)
    }
}
