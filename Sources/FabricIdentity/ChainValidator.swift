internal import FabricCore
internal import SwiftASN1

/// Finds a path from a leaf to a root and judges every certificate on it by the SPIFFE X.509-SVID rules and by RFC 5280
/// section 6, in the part that those rules leave: no policies, no name constraints (refused), no revocation lists.
///
/// A link holds when the issuer's subject equals the child's issuer byte by byte, their key identifiers do not disagree,
/// and the issuer's key verifies the child. Every authority on the path names the leaf's trust domain as its one URI, so
/// that a cluster's root can sign for that cluster alone. Time is judged last, and for every certificate on the path.
final class ChainValidator {
    static let maximumChain = 6
    static let maximumRoots = 64
    /// Parsed certificates and verified links that are remembered; when full, all are forgotten. What is remembered
    /// follows from bytes alone, so that no answer depends on it.
    static let maximumRemembered = 4096

    private var parsed: [[UInt8]: ParsedCertificate] = [:]
    private var verified: Set<[UInt8]> = []

    func parse(_ der: [UInt8]) throws(CertificateError) -> ParsedCertificate {
        if let known = parsed[der] { return known }
        let certificate = try ParsedCertificate(der)
        if parsed.count >= ChainValidator.maximumRemembered { parsed.removeAll() }
        parsed[der] = certificate
        return certificate
    }

    func validate(
        chain: [[UInt8]], roots: [[UInt8]], time: WallTime
    ) throws(CertificateError) -> CertificateFacts {
        guard (1...ChainValidator.maximumChain).contains(chain.count) else {
            throw .malformed(
                "a chain of \(chain.count) certificates; 1 to \(ChainValidator.maximumChain) are accepted")
        }
        guard roots.count <= ChainValidator.maximumRoots else {
            throw .malformed("\(roots.count) roots")
        }
        var certificates: [ParsedCertificate] = []
        for der in chain { certificates.append(try parse(der)) }
        var anchors: [ParsedCertificate] = []
        for der in roots { anchors.append(try parse(der)) }
        let leaf = certificates[0]
        let spiffeID = try ChainValidator.checkLeaf(leaf)
        var search = Search(
            leaf: leaf, trustDomain: spiffeID.trustDomain, intermediates: Array(certificates.dropFirst()),
            roots: anchors, time: time)
        guard extend(leaf, [], &search) else { throw search.failure.error }
        return try leaf.facts()
    }

    /// The state of one search. `failure` is the reason that came nearest to success.
    private struct Search {
        let leaf: ParsedCertificate
        let trustDomain: String
        let intermediates: [ParsedCertificate]
        let roots: [ParsedCertificate]
        let time: WallTime
        var failure: (rank: Int, error: CertificateError) = (0, .untrustedRoot)

        mutating func note(_ rank: Int, _ error: CertificateError) {
            if rank > failure.rank { failure = (rank, error) }
        }
    }

    /// Depth first: roots before intermediates, each in the order given. `used` are the indices of intermediates on the
    /// path so far; as none is used twice, a path has no loop and at most `maximumChain` certificates and a root.
    private func extend(_ child: ParsedCertificate, _ used: [Int], _ search: inout Search) -> Bool {
        for root in search.roots where holds(root, child, authoritiesBelow: used.count, &search) {
            let path = [search.leaf] + used.map { search.intermediates[$0] } + [root]
            if isCurrent(path, &search) { return true }
        }
        for (index, candidate) in search.intermediates.enumerated() where !used.contains(index) {
            guard holds(candidate, child, authoritiesBelow: used.count, &search) else { continue }
            if extend(candidate, used + [index], &search) { return true }
        }
        return false
    }

    private func isCurrent(_ path: [ParsedCertificate], _ search: inout Search) -> Bool {
        for certificate in path {
            let validity = certificate.validity
            if search.time < validity.lowerBound {
                search.note(3, .notYetValid(validity.lowerBound))
                return false
            }
            if search.time >= validity.upperBound {
                search.note(3, .expired(validity.upperBound))
                return false
            }
        }
        return true
    }

    private func holds(
        _ issuer: ParsedCertificate, _ child: ParsedCertificate, authoritiesBelow: Int,
        _ search: inout Search
    ) -> Bool {
        guard issuer.subject == child.issuer, issuer.subject != DistinguishedName.empty else {
            return false
        }
        if let wanted = child.extensions.authorityKeyIdentifier,
            let found = issuer.extensions.subjectKeyIdentifier,
            wanted != found
        {
            return false
        }
        guard verify(child, by: issuer) else {
            search.note(1, .badSignature)
            return false
        }
        if let problem = ChainValidator.problem(
            ofAuthority: issuer, trustDomain: search.trustDomain, authoritiesBelow: authoritiesBelow)
        {
            search.note(2, .violates(problem))
            return false
        }
        return true
    }

    private func verify(_ child: ParsedCertificate, by issuer: ParsedCertificate) -> Bool {
        let link = issuer.publicKey + child.der
        if verified.contains(link) { return true }
        guard child.structure.verify(publicKey: issuer.publicKey) else { return false }
        if verified.count >= ChainValidator.maximumRemembered { verified.removeAll() }
        verified.insert(link)
        return true
    }

    /// X509-SVID.md section 4, for leaves.
    static func checkLeaf(_ leaf: ParsedCertificate) throws(CertificateError) -> SPIFFEID {
        let extensions = leaf.extensions
        let spiffeID = try leaf.spiffeID()
        guard !spiffeID.namesAuthority else {
            throw .violates("a leaf is named by a path, not by a bare trust domain")
        }
        guard !extensions.isAuthority else { throw .violates("the leaf is a certificate authority") }
        guard let usage = extensions.keyUsage, usage.critical else {
            throw .violates("the leaf has no critical key usage")
        }
        guard usage.bits.contains(.digitalSignature) else {
            throw .violates("the leaf's key may not make signatures")
        }
        guard usage.bits.isDisjoint(with: [.keyCertSign, .cRLSign]) else {
            throw .violates("the leaf's key may sign certificates or revocation lists")
        }
        if let usages = extensions.extendedKeyUsage {
            guard usages.contains(.serverAuth), usages.contains(.clientAuth) else {
                throw .violates("the leaf's extended key usage lacks serverAuth or clientAuth")
            }
        }
        guard leaf.subject != DistinguishedName.empty || extensions.alternativeNames?.critical == true
        else {
            throw .violates("with an empty subject the alternative name is critical")
        }
        guard !extensions.unprocessed else {
            throw .violates("the leaf has an extension that is not supported")
        }
        return spiffeID
    }

    /// What makes `authority` unfit to stand above `authoritiesBelow` authorities and a leaf of `trustDomain`.
    static func problem(
        ofAuthority authority: ParsedCertificate, trustDomain: String, authoritiesBelow: Int
    ) -> String? {
        let extensions = authority.extensions
        guard let constraints = extensions.basicConstraints, constraints.isAuthority,
            constraints.critical
        else {
            return "an issuer is not a certificate authority"
        }
        guard let usage = extensions.keyUsage, usage.critical, usage.bits.contains(.keyCertSign) else {
            return "an authority's key may not sign certificates"
        }
        if let limit = constraints.pathLength, authoritiesBelow > limit {
            return "an authority's path length is exceeded"
        }
        if let usages = extensions.extendedKeyUsage, !usages.contains(.anyExtendedKeyUsage),
            !(usages.contains(.serverAuth) && usages.contains(.clientAuth))
        {
            return "an authority's extended key usage excludes serverAuth or clientAuth"
        }
        guard extensions.uris == ["spiffe://\(trustDomain)"] else {
            return "an authority does not name the trust domain \(trustDomain)"
        }
        return extensions.unprocessed ? "an authority has an extension that is not supported" : nil
    }
}
