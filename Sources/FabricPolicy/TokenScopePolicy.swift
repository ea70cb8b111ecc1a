public import FabricCore
public import FabricWire

/// What a join token lets a host ask for.
public enum TokenScopePolicy {
    public enum Verdict: Hashable, Sendable {
        case allowed
        /// Why not, in words for the person at the host.
        case refused(String)
    }

    /// Whether a scope makes sense at all: it covers the fabric domain, which every node has, and names each domain
    /// once.
    public static func validate(_ scope: ControlAPI.TokenScope) -> Verdict {
        let domains = scope.domains
        guard domains.count <= TunnelKey.maximumDomains else {
            return .refused("a scope names at most \(TunnelKey.maximumDomains) routing domains")
        }
        guard Set(domains).count == domains.count else { return .refused("the scope names a routing domain twice") }
        guard domains.contains(.fabric) else {
            return .refused("the scope lacks the domain “fabric”, which every node has")
        }
        let prefix = scope.namePrefix
        guard prefix.isEmpty || NodeName.isValid(prefix + "0") else {
            return .refused("“\(prefix.prefix(80))” can't begin a node name (a-z, 0-9 and -, at most 63 characters)")
        }
        return .allowed
    }

    /// Whether a host with this name and these domains may use the token.
    public static func evaluate(
        _ scope: ControlAPI.TokenScope, name: String, domains: [RoutingDomainID]
    ) -> Verdict {
        guard name.hasPrefix(scope.namePrefix) else {
            return .refused("the token is for names that begin with “\(scope.namePrefix)”, not for “\(name)”")
        }
        if let foreign = domains.first(where: { !scope.domains.contains($0) }) {
            return .refused("the token does not cover the routing domain “\(foreign)”")
        }
        return .allowed
    }
}

/// A node's name: a DNS label (RFC 1123, lower case).
public enum NodeName {
    public static func isValid(_ name: String) -> Bool {
        let bytes = name.utf8
        return (1...ControlAPI.NewEnrolment.longestName).contains(bytes.count) && bytes.first != 45 && bytes.last != 45
            && bytes.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 }
    }
}
