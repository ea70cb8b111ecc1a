import FabricCore
import FabricCrypto
import FabricIdentity
import FabricTestSupport
import FabricWire
import Testing

@Suite struct ControlPinTests {
    let cryptography: any Cryptography = SystemCryptography()
    let certificates: any CertificateProvider = X509Identity()
    let now = WallTime(seconds: 1_800_000_000)

    /// A root and a leaf, as the control plane presents them: leaf first.
    func chain(
        rootSeed: UInt8 = 1, spiffeID: String = FabricIdentifier.control, ends: Duration = .hours(1)
    ) throws -> [[UInt8]] {
        let seed = [UInt8](repeating: rootSeed, count: 32)
        let domain = String(spiffeID.dropFirst("spiffe://".count).prefix { $0 != "/" })
        let root = try certificates.makeRoot(
            seed: seed, trustDomain: domain, serial: [1, rootSeed], validity: now - .hours(24)..<now + .hours(2400))
        let leaf = try certificates.issueLeaf(
            issuer: root, issuerSeed: seed,
            publicKey: try cryptography.ed25519PublicKey(seed: [UInt8](repeating: 9, count: 32)), spiffeID: spiffeID,
            dnsNames: ["localhost"], serial: [2], validity: now - .hours(1)..<now + ends)
        return [leaf, root]
    }

    func verify(_ chain: [[UInt8]], pin: [UInt8], at time: WallTime? = nil) -> Result<
        CertificateFacts, CertificateError
    > {
        Result { () throws(CertificateError) in
            try ControlPin.verify(chain: chain, pin: pin, time: time ?? now, certificates, cryptography)
        }
    }

    @Test func `the control plane's chain is taken under its root's pin`() throws {
        let chain = try chain()
        let facts = try verify(chain, pin: cryptography.sha256(chain[1])).get()
        #expect(facts.spiffeID == FabricIdentifier.control)
    }

    @Test func `another root is refused, also in front of the pinned one`() throws {
        let ours = try chain()
        let theirs = try chain(rootSeed: 2)
        let pin = cryptography.sha256(ours[1])
        #expect(verify(theirs, pin: pin) == .failure(.untrustedRoot))
        #expect(verify(ours, pin: []) == .failure(.untrustedRoot))
        #expect(verify(ours, pin: Array(pin.dropLast())) == .failure(.untrustedRoot))
        #expect(throws: CertificateError.self) { try verify([theirs[0], ours[1]], pin: pin).get() }
        #expect(throws: CertificateError.self) { try verify([theirs[0], theirs[1], ours[1]], pin: pin).get() }
    }

    @Test func `a chain that lacks its leaf or its root is refused`() throws {
        let chain = try chain()
        let pin = cryptography.sha256(chain[1])
        #expect(verify([], pin: pin) == .failure(.untrustedRoot))
        #expect(verify([chain[1]], pin: pin) == .failure(.untrustedRoot))
        #expect(verify([chain[0]], pin: pin) == .failure(.untrustedRoot))
        #expect(verify([chain[0]], pin: cryptography.sha256(chain[0])) == .failure(.untrustedRoot))
        #expect(verify([chain[1], chain[0]], pin: pin) == .failure(.untrustedRoot))
    }

    @Test(arguments: ["spiffe://control-plane.rap/other", "spiffe://alpha.rap/node/n1"])
    func `a leaf that is not the control plane is refused`(_ spiffeID: String) throws {
        let chain = try chain(spiffeID: spiffeID)
        guard case .failure(.violates) = verify(chain, pin: cryptography.sha256(chain[1])) else {
            Issue.record("it was taken, or refused for another reason")
            return
        }
    }

    @Test func `a leaf outside its time is refused`() throws {
        let chain = try chain()
        let pin = cryptography.sha256(chain[1])
        #expect(throws: CertificateError.expired(now + .hours(1))) {
            try verify(chain, pin: pin, at: now + .hours(3)).get()
        }
        #expect(throws: CertificateError.self) { try verify(chain, pin: pin, at: now - .hours(3)).get() }
    }

    @Test func `mutated chains are refused`() throws {
        let chain = try chain()
        let pin = cryptography.sha256(chain[1])
        try Fuzz.run(corpus: [chain[0]], seed: 61, iterations: 500) { bytes in
            guard case .success = verify([bytes, chain[1]], pin: pin) else { return }
            #expect(bytes == chain[0])
        }
        try Fuzz.run(corpus: [chain[1]], seed: 62, iterations: 200) { bytes in
            guard case .success = verify([chain[0], bytes], pin: pin) else { return }
            #expect(bytes == chain[1])
        }
    }
}
