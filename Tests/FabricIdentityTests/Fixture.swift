import FabricCore
import SwiftASN1

@testable import FabricIdentity

/// A root, an issuing authority and a leaf of one trust domain, and the means to make certificates that break a rule.
struct Fixture {
    static let start = WallTime(seconds: 1_800_000_000)
    static let year = start..<(start + .hours(24 * 365))
    static let threeDays = start..<(start + .hours(72))
    static let now = start + .hours(1)

    let identity = X509Identity()
    let rootSeed = Fixture.seed(1)
    let issuingSeed = Fixture.seed(2)
    let leafSeed = Fixture.seed(3)
    let trustDomain: String
    let root: [UInt8]
    let issuing: [UInt8]
    let leaf: [UInt8]

    var leafID: String { "spiffe://\(trustDomain)/node/a1" }
    var chain: [[UInt8]] { [leaf, issuing] }

    init(trustDomain: String = "north.rap") throws {
        self.trustDomain = trustDomain
        root = try identity.makeRoot(
            seed: rootSeed, trustDomain: trustDomain, serial: [1], validity: Fixture.year)
        issuing = try identity.issueAuthority(
            issuer: root, issuerSeed: rootSeed,
            request: identity.makeRequest(seed: issuingSeed, spiffeID: "spiffe://\(trustDomain)"),
            serial: [2],
            validity: Fixture.year)
        leaf = try identity.issueLeaf(
            issuer: issuing, issuerSeed: issuingSeed, publicKey: Ed25519Key.publicKey(seed: leafSeed),
            spiffeID: "spiffe://\(trustDomain)/node/a1", dnsNames: ["a1.example", "192.0.2.7"],
            serial: [0xFE, 3], validity: Fixture.threeDays)
    }

    static func seed(_ byte: UInt8) -> [UInt8] { [UInt8](repeating: byte, count: 32) }

    func validate(
        _ chain: [[UInt8]]? = nil, roots: [[UInt8]]? = nil, time: WallTime = Fixture.now
    ) throws(CertificateError) -> CertificateFacts {
        try identity.validate(chain: chain ?? self.chain, roots: roots ?? [root], time: time)
    }

    /// The refusal of `chain`, nil when it is accepted.
    func refusal(_ chain: [[UInt8]]? = nil, roots: [[UInt8]]? = nil, time: WallTime = Fixture.now)
        -> CertificateError?
    {
        do {
            _ = try validate(chain, roots: roots, time: time)
            return nil
        } catch { return error }
    }
}

/// A certificate whose every field may be wrong.
struct ForgedCertificate {
    var version: Int? = 2
    var serial: [UInt8] = [9]
    var issuer: ParsedCertificate
    var subject: [UInt8]
    var subjectSeed = Fixture.seed(3)
    var validity = (Fixture.start, Fixture.start + .hours(72))
    var entries: [CertificateExtensions.Entry]
    var innerAlgorithm = Ed25519Key.algorithm

    /// A leaf as the product makes it, to be spoilt.
    init(leafUnder issuer: [UInt8], uris: [String]) throws {
        self.issuer = try ParsedCertificate(issuer)
        subject = try DistinguishedName.commonName("leaf")
        entries = try CertificateTemplate.usage(.leaf)
        entries.append(ForgedCertificate.names(uris))
    }

    /// An authority as the product makes it, to be spoilt.
    init(authorityUnder issuer: [UInt8], trustDomain: String, pathLength: Int, seed: [UInt8]) throws {
        self.issuer = try ParsedCertificate(issuer)
        subject = try DistinguishedName.commonName("authority \(Hex.encode(seed.prefix(2)))")
        subjectSeed = seed
        validity = (Fixture.start, Fixture.start + .hours(24 * 300))
        entries = try CertificateTemplate.usage(.authority(pathLength: pathLength))
        entries.append(ForgedCertificate.names(["spiffe://\(trustDomain)"]))
    }

    static func names(_ uris: [String], critical: Bool = false) -> CertificateExtensions.Entry {
        let value = encoded { coder in
            coder.appendConstructedNode(identifier: .sequence) { coder in
                for uri in uris {
                    coder.appendPrimitiveNode(identifier: .context(6)) { $0.append(contentsOf: uri.utf8) }
                }
            }
        }
        return .init(.subjectAlternativeName, critical: critical, value)
    }

    mutating func replace(
        _ identifier: ASN1ObjectIdentifier, with entry: CertificateExtensions.Entry?
    ) {
        entries.removeAll { $0.identifier == identifier }
        if let entry { entries.append(entry) }
    }

    func sign(_ seed: [UInt8]) throws -> [UInt8] {
        try SignedStructure.sign(seed: seed) { coder in
            if let version {
                try coder.serialize(version, explicitlyTaggedWithTagNumber: 0, tagClass: .contextSpecific)
            }
            try coder.serialize(serial[...])
            try AlgorithmIdentifier(algorithm: innerAlgorithm, hasParameters: false).serialize(
                into: &coder)
            coder.serializeRawBytes(issuer.subject)
            try coder.appendConstructedNode(identifier: .sequence) { coder in
                try CertificateTime(seconds: validity.0.seconds).serialize(into: &coder)
                try CertificateTime(seconds: validity.1.seconds).serialize(into: &coder)
            }
            coder.serializeRawBytes(subject)
            try SubjectPublicKeyInfo.serialize(Ed25519Key.publicKey(seed: subjectSeed), into: &coder)
            if !entries.isEmpty {
                try coder.serialize(explicitlyTaggedWithTagNumber: 3, tagClass: .contextSpecific) { coder in
                    try coder.serializeSequenceOf(entries)
                }
            }
        }
    }
}
