internal import FabricCore
internal import FabricDocument

/// One entry of `expect`: a window of time and a condition.
struct ExpectationEntry: Decodable, Sendable {
    var name: String?
    var form: Form
    /// A time, or `LABEL`, `LABEL.end`, either with `+10s`; so are `from` and `until`.
    var after: Located<String>?
    var from: Located<String>?
    var until: Located<String>?
    var stays: Located<Span>?
    /// Whether a run in which it does not hold is broken; of `sometimes` false when absent, of the others true.
    var required: Located<Bool>?
    /// Only what is in no fault is judged.
    var core: CoreEntry?
    var condition: ConditionEntry

    enum Form: Sendable {
        case always
        case never
        case sometimes
        case within(Located<Span>)
        case at(Located<Span>)
        case by(Located<Span>)
    }

    enum FormKeys: String, CodingKey, CaseIterable { case always, never, sometimes, within, at, by }

    enum CodingKeys: String, CodingKey, CaseIterable {
        case name, after, from, until
        case stays = "for"
        case required, core, that
    }

    init(from decoder: any Decoder) throws {
        let forms = try decoder.container(keyedBy: FormKeys.self)
        let container = try decoder.container(keyedBy: CodingKeys.self)
        name = try container.decodeIfPresent(String.self, forKey: .name)
        after = try container.decodeIfPresent(Located<String>.self, forKey: .after)
        from = try container.decodeIfPresent(Located<String>.self, forKey: .from)
        until = try container.decodeIfPresent(Located<String>.self, forKey: .until)
        stays = try container.decodeIfPresent(Located<Span>.self, forKey: .stays)
        required = try container.decodeIfPresent(Located<Bool>.self, forKey: .required)
        core = try container.decodeIfPresent(CoreEntry.self, forKey: .core)
        let that = try container.decodeIfPresent(ConditionEntry.self, forKey: .that)
        let key = try SoleKey.find(
            forms, decoder, beside: CodingKeys.allCases.map(\.stringValue), noun: "expectation")
        func timed() throws -> Located<Span> { try forms.decode(Located<Span>.self, forKey: key) }
        func refused(_ message: String) -> DecodingError {
            .dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: message))
        }
        switch key {
        case .always, .never, .sometimes:
            form = key == .always ? .always : key == .never ? .never : .sometimes
            condition = try forms.decode(ConditionEntry.self, forKey: key)
            if that != nil { throw refused("“\(key.stringValue)” holds the condition itself; leave “that” out") }
        case .within, .at, .by:
            form = key == .within ? .within(try timed()) : key == .at ? .at(try timed()) : .by(try timed())
            guard let that else { throw refused("“\(key.stringValue)” needs “that”, the condition to judge") }
            condition = that
        }
        if after != nil, key != .within { throw refused("“after” goes with “within” only; use “from”") }
        let isWindow = [FormKeys.always, .never, .sometimes].contains(key)
        if from != nil || until != nil, !isWindow {
            throw refused("“from” and “until” go with “always”, “never” and “sometimes” only")
        }
        if stays != nil, key != .within, key != .by { throw refused("“for” goes with “within” and “by” only") }
    }
}

/// `core: healthy`, or `core: { nodes: SELECTOR }`.
struct CoreEntry: Decodable, Sendable {
    /// Nil for all nodes.
    var nodes: Selector?

    enum CodingKeys: String, CodingKey, CaseIterable { case nodes }

    init(from decoder: any Decoder) throws {
        if (decoder as? any DocumentSource)?.node.object != nil {
            nodes = try decoder.container(keyedBy: CodingKeys.self).decode(Selector.self, forKey: .nodes)
            return
        }
        guard try String(from: decoder) == "healthy" else {
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: decoder.codingPath,
                    debugDescription: "a core is “healthy”, or { nodes: SELECTOR }"))
        }
    }
}
