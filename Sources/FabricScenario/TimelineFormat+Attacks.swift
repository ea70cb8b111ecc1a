internal import FabricCore
internal import FabricDocument

/// The steps of the timeline that somebody takes who means harm.
enum AttackEntry: Sendable {
    case replay(ReplayEntry)
    case flood(FloodEntry)
    case captureControl(CaptureEntry)
    case impostor(ImpostorEntry)
}

struct ReplayEntry: Decodable, Sendable {
    /// Every node when absent.
    var from: Selector?
    var to: Selector
    var what: ReplayedMessages?
    var after: Located<Span>?
    var source: AttackSource?
    var flip: Located<Int>?
    var share: Ratio?
    var duration: Located<Span>

    enum CodingKeys: String, CodingKey, CaseIterable {
        case from, to, what, after, source, flip, share
        case duration = "for"
    }
}

struct FloodEntry: Decodable, Sendable {
    var to: Selector
    var what: FloodMessages?
    var interval: Located<Span>?
    var source: AttackSource?
    var duration: Located<Span>

    enum CodingKeys: String, CodingKey, CaseIterable {
        case to, what, interval, source
        case duration = "for"
    }
}

struct CaptureEntry: Decodable, Sendable {
    var nodes: Selector
    var sends: CapturedAnswer
    /// Whether a run is broken in which there was nothing to send.
    var required: Bool?
    var duration: Located<Span>

    enum CodingKeys: String, CodingKey, CaseIterable {
        case nodes, sends, required
        case duration = "for"
    }
}

struct ImpostorEntry: Decodable, Sendable {
    var node: Located<String>
    var keysOf: Located<String>
    var token: Located<String>

    enum CodingKeys: String, CodingKey, CaseIterable {
        case node
        case keysOf = "keys-of"
        case token
    }
}
