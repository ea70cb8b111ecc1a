import FabricCore
import Testing

@testable import FabricIdentity

@Suite struct IssuingTests {
    @Test("The same arguments give the same bytes, other seeds others")
    func repeats() throws {
        let (a, b) = (try Fixture(), try Fixture())
        #expect(a.root == b.root && a.issuing == b.issuing && a.leaf == b.leaf)
        #expect(
            try a.identity.makeRequest(seed: a.leafSeed, spiffeID: a.leafID)
                == b.identity.makeRequest(seed: b.leafSeed, spiffeID: b.leafID))
        #expect(
            try a.identity.makeRoot(
                seed: Fixture.seed(7), trustDomain: "north.rap", serial: [1], validity: Fixture.year)
                != a.root)
    }

    @Test("A chain as issued validates, and its facts are those that went in")
    func validates() throws {
        let fixture = try Fixture()
        let facts = try fixture.validate()
        #expect(facts.spiffeID == fixture.leafID)
        #expect(facts.publicKey == (try Ed25519Key.publicKey(seed: fixture.leafSeed)))
        #expect(facts.serial == [0xFE, 3])
        #expect(facts.validity == Fixture.threeDays)
        #expect(try fixture.identity.inspect(fixture.leaf) == facts)
        #expect(try fixture.identity.inspect(fixture.root).spiffeID == "spiffe://north.rap")
    }

    @Test("A leaf may stand directly under the root")
    func rootIssuesLeaf() throws {
        let fixture = try Fixture()
        let leaf = try fixture.identity.issueLeaf(
            issuer: fixture.root, issuerSeed: fixture.rootSeed,
            publicKey: Ed25519Key.publicKey(seed: fixture.leafSeed),
            spiffeID: fixture.leafID, dnsNames: [], serial: [3], validity: Fixture.threeDays)
        #expect(try fixture.validate([leaf]).spiffeID == fixture.leafID)
    }

    @Test("Requests say what they ask for")
    func requests() throws {
        let identity = X509Identity()
        let leaf = try identity.inspectRequest(
            identity.makeRequest(seed: Fixture.seed(3), spiffeID: "spiffe://north.rap/node/a1"))
        #expect(leaf.spiffeIDs == ["spiffe://north.rap/node/a1"] && !leaf.asksForAuthority)
        #expect(leaf.publicKey == (try Ed25519Key.publicKey(seed: Fixture.seed(3))))
        let authority = try identity.inspectRequest(
            identity.makeRequest(seed: Fixture.seed(2), spiffeID: "spiffe://north.rap"))
        #expect(authority.spiffeIDs == ["spiffe://north.rap"] && authority.asksForAuthority)
    }

    @Test(
        "Times survive the certificate to the second, across the change of encodings and of leap years")
    func times() throws {
        let identity = X509Identity()
        // 2049-12-31T23:59:59Z, 2050-01-01, 2000-02-29, 2100-03-01, the epoch.
        for second: Int64 in [2_524_607_999, 2_524_608_000, 951_782_400, 4_107_542_400, 0, 1] {
            let validity = WallTime(seconds: second)..<WallTime(seconds: second + 1)
            let root = try identity.makeRoot(
                seed: Fixture.seed(1), trustDomain: "north.rap", serial: [1], validity: validity)
            #expect(try identity.inspect(root).validity == validity)
        }
    }

    @Test("An issuer refuses what no verifier would accept")
    func issuerRefuses() throws {
        let fixture = try Fixture()
        let identity = fixture.identity
        let key = try Ed25519Key.publicKey(seed: fixture.leafSeed)
        func issue(
            issuer: [UInt8]? = nil, seed: [UInt8]? = nil, key publicKey: [UInt8]? = nil,
            id: String? = nil,
            names: [String] = [], serial: [UInt8] = [5], validity: Range<WallTime> = Fixture.threeDays
        ) throws(CertificateError) {
            _ = try identity.issueLeaf(
                issuer: issuer ?? fixture.issuing, issuerSeed: seed ?? fixture.issuingSeed,
                publicKey: publicKey ?? key,
                spiffeID: id ?? fixture.leafID, dnsNames: names, serial: serial, validity: validity)
        }
        try issue()
        #expect(throws: CertificateError.self) {
            try issue(issuer: fixture.leaf, seed: fixture.leafSeed)
        }
        #expect(
            throws: CertificateError.unsupportedKey(
                "the seed does not belong to the issuer's certificate")
        ) {
            try issue(seed: fixture.rootSeed)
        }
        #expect(throws: CertificateError.self) { try issue(seed: [1, 2, 3]) }
        #expect(throws: CertificateError.self) { try issue(key: [UInt8](key.dropLast())) }
        #expect(throws: CertificateError.self) { try issue(key: [UInt8](repeating: 0, count: 32)) }
        #expect(throws: CertificateError.self) { try issue(id: "spiffe://south.rap/node/a1") }
        #expect(throws: CertificateError.self) { try issue(id: "spiffe://north.rap") }
        #expect(throws: CertificateError.self) { try issue(id: "https://north.rap/node/a1") }
        #expect(throws: CertificateError.self) { try issue(names: ["*.example"]) }
        #expect(throws: CertificateError.self) { try issue(names: ["a b"]) }
        #expect(throws: CertificateError.self) {
            try issue(names: Array(repeating: "a.example", count: 17))
        }
        #expect(throws: CertificateError.self) { try issue(serial: []) }
        #expect(throws: CertificateError.self) { try issue(serial: [0, 0]) }
        #expect(throws: CertificateError.self) {
            try issue(serial: [UInt8](repeating: 0xFF, count: 20))
        }
        try issue(serial: [UInt8](repeating: 0x7F, count: 20))
        #expect(throws: CertificateError.self) { try issue(validity: Fixture.start..<Fixture.start) }
        // An issuing authority (path length 0) makes no authorities.
        #expect(throws: CertificateError.violates("an authority's path length is exceeded")) {
            try identity.issueAuthority(
                issuer: fixture.issuing, issuerSeed: fixture.issuingSeed,
                request: identity.makeRequest(seed: Fixture.seed(9), spiffeID: "spiffe://north.rap"),
                serial: [7],
                validity: Fixture.year)
        }
        // Nor does a root for another trust domain, for a leaf's request, or for its own key.
        for (seed, id) in [
            (Fixture.seed(9), "spiffe://south.rap"), (Fixture.seed(9), "spiffe://north.rap/node/a1"),
            (fixture.rootSeed, "spiffe://north.rap"),
        ] {
            #expect(throws: CertificateError.self) {
                try identity.issueAuthority(
                    issuer: fixture.root, issuerSeed: fixture.rootSeed,
                    request: identity.makeRequest(seed: seed, spiffeID: id), serial: [7],
                    validity: Fixture.year)
            }
        }
    }

    @Test(
        "Text that is not a SPIFFE ID is refused",
        arguments: [
            "", "spiffe://", "spiffe:///node", "SPIFFE://north.rap/a", "spiffe://North.rap/a",
            "spiffe://north.rap/",
            "spiffe://north.rap//a", "spiffe://north.rap/a/", "spiffe://north.rap/.",
            "spiffe://north.rap/a/../b",
            "spiffe://north.rap:443/a", "spiffe://u@north.rap/a", "spiffe://north.rap/a?b",
            "spiffe://north.rap/a#b",
            "spiffe://north.rap/%61", "spiffe://north.rap/ä", "https://north.rap/a",
            "spiffe://" + String(repeating: "a", count: 256) + "/a",
            "spiffe://north.rap/" + String(repeating: "a", count: 2048),
        ])
    func badSPIFFEIDs(_ text: String) {
        #expect(SPIFFEID(text) == nil)
        #expect(throws: CertificateError.self) {
            try X509Identity().makeRequest(seed: Fixture.seed(1), spiffeID: text)
        }
    }

    @Test(
        "Text that is a SPIFFE ID is taken apart", arguments: ["", "/node/a1", "/.../..a", "/A_b-c.d"])
    func goodSPIFFEIDs(_ path: String) {
        let spiffeID = SPIFFEID("spiffe://north_1-a.rap" + path)
        #expect(spiffeID?.trustDomain == "north_1-a.rap" && spiffeID?.path == path)
    }
}
