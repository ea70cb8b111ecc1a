public import FabricCore

/// X.509-SVIDs and their authorities, with Ed25519 keys throughout (RFC 5280, RFC 8410, RFC 2986, SPIFFE X509-SVID.md).
///
/// Seeds, serial numbers and times are arguments and Ed25519 draws no randomness, so the same arguments give the same
/// bytes. Nothing is kept but a bounded memory of certificates parsed and links verified, which changes no answer.
/// What comes from outside is refused with a `CertificateError` and never traps; after an error the object is as before.
public final class X509Identity: CertificateProvider {
    private let validator = ChainValidator()

    public init() {}

    public func makeRoot(
        seed: [UInt8], trustDomain: String, serial: [UInt8], validity: Range<WallTime>
    ) throws(CertificateError) -> [UInt8] {
        guard let spiffeID = SPIFFEID("spiffe://\(trustDomain)"), spiffeID.namesAuthority else {
            throw .malformed("“\(trustDomain)” is not a trust domain such as example.rap")
        }
        let publicKey = try Ed25519Key.publicKey(seed: seed)
        let name = try SignedStructure.decoding("a name") {
            try DistinguishedName.forKey(publicKey, role: "RAP root")
        }
        return try CertificateTemplate(
            role: .authority(pathLength: 1), serial: serial, issuerName: name, issuerKey: publicKey,
            subjectName: name,
            publicKey: publicKey, validity: validity, spiffeID: spiffeID
        ).sign(seed: seed)
    }

    public func makeRequest(seed: [UInt8], spiffeID: String) throws(CertificateError) -> [UInt8] {
        guard let identifier = SPIFFEID(spiffeID) else {
            throw .malformed("“\(spiffeID)” is not a SPIFFE ID")
        }
        return try CertificateRequest.make(seed: seed, spiffeID: identifier)
    }

    /// Refused besides bad data: more than one URI, a URI that is no SPIFFE ID, an authority with a path, extensions that
    /// are critical and unknown. Host names that a request asks for are not looked at: the issuer names them.
    public func inspectRequest(_ request: [UInt8]) throws(CertificateError) -> CertificateRequestFacts {
        try CertificateRequest.inspect(request)
    }

    /// The new authority names the issuer's trust domain, and its request must ask for exactly that.
    public func issueAuthority(
        issuer: [UInt8], issuerSeed: [UInt8], request: [UInt8], serial: [UInt8],
        validity: Range<WallTime>
    ) throws(CertificateError) -> [UInt8] {
        let facts = try CertificateRequest.inspect(request)
        guard facts.asksForAuthority else {
            throw .violates("the request does not ask for an authority")
        }
        let (parent, trustDomain) = try checkedIssuer(issuer, seed: issuerSeed, authoritiesBelow: 1)
        guard facts.spiffeIDs == [trustDomain.text] else {
            throw .violates("the request does not name the trust domain \(trustDomain.trustDomain)")
        }
        guard facts.publicKey != parent.publicKey else {
            throw .violates("an authority has a key of its own")
        }
        let name = try SignedStructure.decoding("a name") {
            try DistinguishedName.forKey(facts.publicKey, role: "RAP issuing")
        }
        return try CertificateTemplate(
            role: .authority(pathLength: 0), serial: serial, issuerName: parent.subject,
            issuerKey: parent.publicKey,
            subjectName: name, publicKey: facts.publicKey, validity: validity, spiffeID: trustDomain
        ).sign(seed: issuerSeed)
    }

    /// `dnsNames`: at most 16 host names in lower case, or IP addresses, which become addresses in the certificate.
    public func issueLeaf(
        issuer: [UInt8], issuerSeed: [UInt8], publicKey: [UInt8], spiffeID: String, dnsNames: [String],
        serial: [UInt8], validity: Range<WallTime>
    ) throws(CertificateError) -> [UInt8] {
        let (parent, trustDomain) = try checkedIssuer(issuer, seed: issuerSeed, authoritiesBelow: 0)
        guard let identifier = SPIFFEID(spiffeID), !identifier.namesAuthority else {
            throw .violates("“\(spiffeID)” is not the SPIFFE ID of a leaf")
        }
        guard identifier.trustDomain == trustDomain.trustDomain else {
            throw .violates("\(spiffeID) is outside the trust domain \(trustDomain.trustDomain)")
        }
        guard dnsNames.count <= CertificateTemplate.maximumNames,
            dnsNames.allSatisfy(CertificateTemplate.isHostName)
        else { throw .malformed("not at most \(CertificateTemplate.maximumNames) host names") }
        let name = try SignedStructure.decoding("a name") {
            try DistinguishedName.forKey(publicKey, role: "RAP identity")
        }
        return try CertificateTemplate(
            role: .leaf, serial: serial, issuerName: parent.subject, issuerKey: parent.publicKey,
            subjectName: name,
            publicKey: publicKey, validity: validity, spiffeID: identifier, dnsNames: dnsNames
        ).sign(seed: issuerSeed)
    }

    /// `chain` holds 1 to 6 certificates, the leaf first, the others in any order; a root among them does no harm.
    public func validate(
        chain: [[UInt8]], roots: [[UInt8]], time: WallTime
    ) throws(CertificateError) -> CertificateFacts {
        try validator.validate(chain: chain, roots: roots, time: time)
    }

    public func inspect(_ certificate: [UInt8]) throws(CertificateError) -> CertificateFacts {
        try validator.parse(certificate).facts()
    }

    /// What `makeRoot` made: every byte as it was, for its signature is its own.
    public func verifyRoot(_ certificate: [UInt8]) throws(CertificateError) {
        let root = try validator.parse(certificate)
        guard root.structure.verify(publicKey: root.publicKey) else { throw .badSignature }
    }

    /// Refuses to sign what no verifier would accept. Whether the issuer is valid in time is judged when chains are.
    private func checkedIssuer(
        _ der: [UInt8], seed: [UInt8], authoritiesBelow: Int
    ) throws(CertificateError) -> (ParsedCertificate, SPIFFEID) {
        let issuer = try validator.parse(der)
        let trustDomain = try issuer.spiffeID()
        if let problem = ChainValidator.problem(
            ofAuthority: issuer, trustDomain: trustDomain.trustDomain, authoritiesBelow: authoritiesBelow)
        {
            throw .violates(problem)
        }
        guard try Ed25519Key.publicKey(seed: seed) == issuer.publicKey else {
            throw .unsupportedKey("the seed does not belong to the issuer's certificate")
        }
        return (issuer, trustDomain)
    }
}
