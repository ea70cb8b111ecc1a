internal import Foundation
import Testing

/// An operator who sees a reason in the agent's status finds it in the documentation.
@Suite("Reasons for drops")
struct DropReasonTests {
    /// Where reasons get their names: a file, and from which words on; up to the end of that declaration, or of the file.
    static let places = [
        ("Sources/FabricTunnel/TunnelCounters.swift", "public var description: String"),
        ("Sources/FabricPacket/SuperPacket.swift", "public var description: String"),
        ("Sources/FabricNode/NodeStatus.swift", "public var drops: [NodeStatus.Drop]"),
        ("Sources/FabricRuntime/Agent/PacketDriver.swift", "    var drops: [(reason: String, count: UInt64)]"),
    ]

    /// The names in the sources, and whether each place was there.
    static func named() -> [(place: String, names: Set<String>)] {
        places.map { path, words in
            let text = SourceTree.file(path)?.text ?? ""
            // A declaration ends where a brace stands as deep as it began.
            let parts = text.components(separatedBy: words).dropFirst().map { part in
                part.components(separatedBy: "\n    }\n").first ?? ""
            }
            let names = parts.joined().matches(of: /"([a-z]+(?:_[a-z0-9]+)*)"/).map { String($0.1) }
            return (path, Set(names))
        }
    }

    /// The first column of the page's tables.
    static func documented() -> Set<String> {
        let page = SourceTree.file("docs/drops.md")?.text ?? ""
        return Set(page.matches(of: /(?m)^\| `([a-z0-9_]+)` \|/).map { String($0.1) })
    }

    @Test("every reason for which something is dropped is explained, and every one explained exists")
    func everyReasonIsExplained() {
        let named = Self.named()
        for (place, names) in named { #expect(!names.isEmpty, "\(place) names no reasons any more") }
        let all = named.reduce(into: Set<String>()) { $0.formUnion($1.names) }
        let documented = Self.documented()
        #expect(all.subtracting(documented).sorted() == [], "docs/drops.md lacks these")
        #expect(documented.subtracting(all).sorted() == [], "docs/drops.md explains what no longer is")
    }
}
