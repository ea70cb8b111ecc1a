/// A SPIFFE ID (SPIFFE-ID.md, section 2): `spiffe://<trust domain><path>`, compared byte by byte.
///
/// An authority is named by its bare trust domain (an empty path), a workload or node by a path below it.
struct SPIFFEID: Hashable {
    static let maximumLength = 2048
    static let maximumTrustDomainLength = 255

    let trustDomain: String
    /// Empty, or `/` and segments.
    let path: String

    var text: String { "spiffe://\(trustDomain)\(path)" }
    var namesAuthority: Bool { path.isEmpty }

    /// Nil unless `text` is in canonical form: no port, user, query, fragment, percent sign, empty or dot segment.
    init?(_ text: String) {
        let scheme = "spiffe://"
        guard text.utf8.count <= SPIFFEID.maximumLength, text.utf8.starts(with: scheme.utf8) else {
            return nil
        }
        let rest = Array(text.utf8.dropFirst(scheme.utf8.count))
        let slash = rest.firstIndex(of: UInt8(ascii: "/")) ?? rest.endIndex
        guard SPIFFEID.isTrustDomain(rest[..<slash]), SPIFFEID.isPath(rest[slash...]) else {
            return nil
        }
        trustDomain = String(decoding: rest[..<slash], as: UTF8.self)
        path = String(decoding: rest[slash...], as: UTF8.self)
    }

    static func isTrustDomain(_ bytes: some Collection<UInt8>) -> Bool {
        (1...maximumTrustDomainLength).contains(bytes.count)
            && bytes.allSatisfy { isLower($0) || isDigit($0) || $0 == 45 || $0 == 46 || $0 == 95 }
    }

    /// Empty, or segments that are neither empty nor `.` nor `..`, each behind a slash.
    private static func isPath(_ bytes: ArraySlice<UInt8>) -> Bool {
        bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).dropFirst()
            .allSatisfy { segment in
                !segment.isEmpty && !segment.elementsEqual(".".utf8) && !segment.elementsEqual("..".utf8)
                    && segment.allSatisfy {
                        isLower($0) || (65...90).contains($0) || isDigit($0) || $0 == 45 || $0 == 46 || $0 == 95
                    }
            }
    }

    private static func isLower(_ byte: UInt8) -> Bool { (97...122).contains(byte) }
    private static func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }
}
