internal import FabricCore
internal import FabricDocument

/// One entry of the timeline: when, and one thing to do.
struct StepEntry: Decodable, Sendable {
    var at: Located<Span>?
    var every: Located<Span>?
    var until: Located<Span>?
    var over: Located<Span>?
    var label: Located<String>?
    var action: ActionEntry

    enum CodingKeys: String, CodingKey, CaseIterable { case at, every, until, over, label }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        at = try container.decodeIfPresent(Located<Span>.self, forKey: .at)
        every = try container.decodeIfPresent(Located<Span>.self, forKey: .every)
        until = try container.decodeIfPresent(Located<Span>.self, forKey: .until)
        over = try container.decodeIfPresent(Located<Span>.self, forKey: .over)
        label = try container.decodeIfPresent(Located<String>.self, forKey: .label)
        action = try ActionEntry(from: decoder)
    }
}

enum ActionEntry: Decodable, Sendable {
    case token(TokenEntry)
    case revokeToken(RevokeEntry)
    case enrol(EnrolEntry)
    case approve(NodesEntry)
    case reject(NodesEntry)
    case partition(PartitionEntry)
    case heal(HealEntry)
    case link(LinkChangeEntry)
    case crash(OutageEntry)
    case restart(NodesEntry)
    case stopControl(ControlOutageEntry)
    case startControl
    case clock(ClockEntry)
    case loseAnswers(LoseAnswersEntry)
    case flow(FlowEntry)
    case swizzle(SwizzleEntry)
    case block(BlockEntry)
    case readdress(ReaddressEntry)
    case rebind(RebindEntry)
    case hostFault(HostFaultEntry)
    case attack(AttackEntry)
    case disable(NodesEntry)
    case enable(NodesEntry)

    enum CodingKeys: String, CodingKey, CaseIterable {
        case token
        case revokeToken = "revoke-token"
        case enrol, approve, reject, partition, heal, link, crash, restart
        case stopControl = "stop-control"
        case startControl = "start-control"
        case clock
        case loseAnswers = "lose-answers"
        case flow
        case swizzle, block, readdress, rebind
        case pause, suspend, resume
        case slowCPU = "slow-cpu"
        case disk
        case bitRot = "bit-rot"
        case database
        case backUpControl = "backup-control"
        case restoreControl = "restore-control"
        case crashAt = "crash-at"
        case replay, flood, impostor
        case captureControl = "capture-control"
        case disable, enable
        case dnsLies = "dns-lies"
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let key = try SoleKey.find(
            container, decoder, beside: StepEntry.CodingKeys.allCases.map(\.stringValue), noun: "step")
        func decode<T: Decodable>(_ type: T.Type) throws -> T { try container.decode(type, forKey: key) }
        switch key {
        case .token: self = .token(try decode(TokenEntry.self))
        case .revokeToken: self = .revokeToken(try decode(RevokeEntry.self))
        case .enrol: self = .enrol(try decode(EnrolEntry.self))
        case .approve: self = .approve(try decode(NodesEntry.self))
        case .reject: self = .reject(try decode(NodesEntry.self))
        case .partition: self = .partition(try decode(PartitionEntry.self))
        case .heal: self = .heal(try decode(HealEntry.self))
        case .link: self = .link(try decode(LinkChangeEntry.self))
        case .crash: self = .crash(try decode(OutageEntry.self))
        case .restart: self = .restart(try decode(NodesEntry.self))
        case .stopControl: self = .stopControl(try decode(ControlOutageEntry.self))
        case .startControl:
            _ = try decode(NothingEntry.self)
            self = .startControl
        case .clock: self = .clock(try decode(ClockEntry.self))
        case .loseAnswers: self = .loseAnswers(try decode(LoseAnswersEntry.self))
        case .flow: self = .flow(try decode(FlowEntry.self))
        case .swizzle: self = .swizzle(try decode(SwizzleEntry.self))
        case .block: self = .block(try decode(BlockEntry.self))
        case .readdress: self = .readdress(try decode(ReaddressEntry.self))
        case .rebind: self = .rebind(try decode(RebindEntry.self))
        case .pause: self = .hostFault(.pause(try decode(HoldEntry.self)))
        case .suspend: self = .hostFault(.suspend(try decode(HoldEntry.self)))
        case .resume: self = .hostFault(.resume(try decode(NodesEntry.self)))
        case .slowCPU: self = .hostFault(.slowProcessor(try decode(SlowProcessorEntry.self)))
        case .disk: self = .hostFault(.disk(try decode(DiskEntry.self)))
        case .bitRot: self = .hostFault(.bitRot(try decode(BitRotEntry.self)))
        case .database: self = .hostFault(.database(try decode(DatabaseEntry.self)))
        case .backUpControl: self = .hostFault(.backUp(try decode(BackupEntry.self)))
        case .restoreControl: self = .hostFault(.restore(try decode(BackupEntry.self)))
        case .crashAt: self = .hostFault(.crashAt(try decode(CrashAtEntry.self)))
        case .replay: self = .attack(.replay(try decode(ReplayEntry.self)))
        case .flood: self = .attack(.flood(try decode(FloodEntry.self)))
        case .impostor: self = .attack(.impostor(try decode(ImpostorEntry.self)))
        case .captureControl: self = .attack(.captureControl(try decode(CaptureEntry.self)))
        case .disable: self = .disable(try decode(NodesEntry.self))
        case .enable: self = .enable(try decode(NodesEntry.self))
        case .dnsLies: self = .hostFault(.dnsLies(try decode(DNSLiesEntry.self)))
        }
    }
}

struct TokenEntry: Decodable, Sendable {
    var name: Located<String>
    var uses: Located<Int>?
    var lifetime: Located<Span>?
    var domains: Located<[String]>?
    var namePrefix: String?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case name, uses, lifetime, domains
        case namePrefix = "name-prefix"
    }
}

struct RevokeEntry: Decodable, Sendable {
    var name: Located<String>

    enum CodingKeys: String, CodingKey, CaseIterable { case name }
}

struct EnrolEntry: Decodable, Sendable {
    var nodes: Selector
    var token: Located<String>

    enum CodingKeys: String, CodingKey, CaseIterable { case nodes, token }
}

struct NodesEntry: Decodable, Sendable {
    var nodes: Selector

    enum CodingKeys: String, CodingKey, CaseIterable { case nodes }
}

/// Nodes that go away, for a while or until they are restarted.
struct OutageEntry: Decodable, Sendable {
    var nodes: Selector
    var kind: CrashForm?
    var duration: Located<Span>?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case nodes, kind
        case duration = "for"
    }
}

struct ControlOutageEntry: Decodable, Sendable {
    var kind: CrashForm?
    var duration: Located<Span>?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case kind
        case duration = "for"
    }

    init(from decoder: any Decoder) throws {
        if try decoder.singleValueContainer().decodeNil() { return }
        let container = try decoder.container(keyedBy: CodingKeys.self)
        kind = try container.decodeIfPresent(CrashForm.self, forKey: .kind)
        duration = try container.decodeIfPresent(Located<Span>.self, forKey: .duration)
    }
}

/// `start-control:` or `start-control: {}`.
struct NothingEntry: Decodable, Sendable {
    init(from decoder: any Decoder) throws {
        let source = decoder as? any DocumentSource
        if case .null? = source?.node.value { return }
        guard let members = source?.node.object, members.isEmpty else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "nothing may stand here; write {}"))
        }
    }
}

/// `between` cuts both ways, `from`/`to` one way, `place` cuts a place off from all others.
struct PartitionEntry: Decodable, Sendable {
    var between: Located<[Selector]>?
    var place: Located<String>?
    var from: Selector?
    var to: Selector?
    var only: PacketProtocol?
    var duration: Located<Span>?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case between, place, from, to, only
        case duration = "for"
    }
}

struct HealEntry: Decodable, Sendable {
    /// A label of a partition, several of them, or `all` alone.
    var step: Located<[String]>

    enum CodingKeys: String, CodingKey, CaseIterable { case step }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        step = try container.decode(Located<OneOrMore>.self, forKey: .step).map(\.values)
    }
}

/// A text, or a list of texts.
struct OneOrMore: Decodable, Sendable {
    var values: [String]

    init(from decoder: any Decoder) throws {
        let isList = (decoder as? any DocumentSource)?.node.array != nil
        values = isList ? try [String](from: decoder) : [try String(from: decoder)]
    }
}

struct LinkChangeEntry: Decodable, Sendable {
    var between: Located<[String]>?
    var inside: Located<String>?
    var duration: Located<Span>?
    var link: LinkEntry

    enum CodingKeys: String, CodingKey, CaseIterable {
        case between
        case inside = "in"
        case duration = "for"
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        between = try container.decodeIfPresent(Located<[String]>.self, forKey: .between)
        inside = try container.decodeIfPresent(Located<String>.self, forKey: .inside)
        duration = try container.decodeIfPresent(Located<Span>.self, forKey: .duration)
        link = try LinkEntry(from: decoder.container(keyedBy: LinkEntry.CodingKeys.self))
    }
}

/// A wall clock set forward or back, while monotonic clocks go on; or both running fast or slow.
struct ClockEntry: Decodable, Sendable {
    var nodes: Selector
    var jump: Located<Span>?
    var drift: ClockDrift?
    var duration: Located<Span>?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case nodes, jump, drift
        case duration = "for"
    }
}

struct LoseAnswersEntry: Decodable, Sendable {
    var request: RequestKind
    var count: Located<Int>?

    enum CodingKeys: String, CodingKey, CaseIterable { case request, count }
}

struct FlowEntry: Decodable, Sendable {
    var name: Located<String>
    var from: Selector
    var to: Selector
    var rate: BitRate
    var packet: Located<ByteSize>?
    var domain: Located<String>?
    /// A node whose address the packets claim to come from.
    var spoof: Located<String>?
    var duration: Located<Span>

    enum CodingKeys: String, CodingKey, CaseIterable {
        case name, from, to, rate, packet, domain, spoof
        case duration = "for"
    }
}
